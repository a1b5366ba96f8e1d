"""What to expect of a run, in words."""

from genai_core.advice.facts import DataFacts
from genai_core.advice.networks import Candidate, least_images
from genai_core.image_size import ImageSize

FEW_TO_LEARN_FROM = 2_000
SEEN_OFTEN = 50  # times that each image is trained on; from about here, a model draws near copies of a few
LEAST_SHARE = 0.2  # of the training images that a network must see; with fewer, nothing can be recognised


def expected_quality(size: ImageSize, images: int, network: Candidate, data: DataFacts, test_share: float) -> str:
    """Say what the images of a model of this size will look like after this many training images."""
    share = images / least_images(network, size)
    if share < LEAST_SHARE:
        what = "noise or blots: hardly any training fits into the time"
    elif share < 0.75:
        what = "rough shapes and colours; too little time for details"
    elif share < 3:
        what = "a person recognises the kind of image at a glance, with faults in details"
    else:
        what = "close to the training images in most details"
    text = f"{size} pixels: {what}"
    train, _ = data.split(test_share)
    if train < FEW_TO_LEARN_FROM and images >= SEEN_OFTEN * train:
        text += f". With {train:,} training images, some results will be near copies of them; the report counts these"
    return text

"""Which images are held out. No image ever moves from test to train while images are added.

So an image's side follows from its own content and from the sides that its own files are given, never from the other
images. A side that would be empty is not filled: an image that is held out because there is no other would have to stay
held out whatever is added later. So would the one that is chosen in every other selection of images: all but one.
"""

import numpy as np
import numpy.typing as npt

from genai_core.data.cache.digest_index import heads_of
from genai_core.data.dataset.dataset import Split
from genai_core.data.dataset.facts import Digests

Sides = npt.NDArray[np.bool_]
GivenSides = npt.NDArray[np.int8]
# What a source says of its images' side; None: each image's content decides.
GIVEN: dict[Split | None, int] = {"test": 0, "train": 1, None: 2}


def is_held_out(digests: Digests, test_share: float, given: GivenSides) -> Sides:
    """Whether each file is for testing: as its source says, given (N,), else from its pixels' sha256 (N, 32)."""
    # The first 52 bits as a number in 0..1, which is uniform; a float holds them exactly.
    places = (heads_of(digests) >> np.uint64(12)).astype(np.float64) / 2**52
    return np.where(given == GIVEN[None], places < test_share, given == GIVEN["test"])


def ranks(held_out: Sides, given: GivenSides) -> npt.NDArray[np.int64]:
    """Of files with the same pixels the one with the lowest rank (N,) is kept: a held-out one, then one with a side.

    A held-out one whoever holds it out: what is for testing by its content would else move to train with the first copy
    of it in a source that is for training.
    """
    return np.where(held_out, 0, 2) + np.where(given == GIVEN[None], 1, 0)


def check_both_sides(held_out: Sides, given: GivenSides, test_share: float) -> None:
    """Raise ValueError unless among different images (N,) there is one for each side."""
    count = len(held_out)
    if count < 2:
        raise ValueError(f"a dataset needs at least 2 different images, one to train and one to test, got {count}")
    if held_out.any() and not held_out.all():
        return
    here, lacking = ("test", "train") if held_out[0] else ("train", "test")
    if (given != GIVEN[None]).all():
        raise ValueError(
            f"all {count:,} images are given for {here} (data/raw/NAME/source.json: split); add images for the other "
            "side, or set split to null there"
        )
    raise ValueError(
        f"all {count:,} images are for {here}, none for {lacking}: each image's content decides, by data.test_share "
        f"({test_share:g}), and no other is taken in its place, or it would change sides later; add images, change the "
        f'share, or put some into a folder of their own, data/raw/NAME, with a source.json that says "split": '
        f'"{lacking}"'
    )


def train_images_near_test(pairs: npt.NDArray[np.int64], held_out: Sides) -> dict[int, int]:
    """Training images that must go because a test image looks the same, each with the first such test image.

    pairs: near duplicates (P, 2), sorted. The test image stays, so that what is held out follows from each image's own
    content; moving the other one to it instead would let a chain of likenesses pull whole classes over.
    """
    gone: dict[int, int] = {}
    for one, other in pairs[held_out[pairs[:, 0]] != held_out[pairs[:, 1]]].tolist():
        train, test = (other, one) if held_out[one] else (one, other)
        gone.setdefault(train, test)
    return gone

"""Which images are held out. An image is never moved from test to train, however the dataset grows."""

import numpy as np
import numpy.typing as npt

from genai_core.data.dataset import Split
from genai_core.data.digest_index import heads_of
from genai_core.data.facts import Digests

Sides = npt.NDArray[np.bool_]
GivenSides = npt.NDArray[np.int8]
# What a source says of its images' side; None: each image's content decides. Of several files with the same pixels the
# one with the lowest number is kept, as what is held out must not be trained on.
GIVEN: dict[Split | None, int] = {"test": 0, "train": 1, None: 2}


def is_held_out(digests: Digests, test_share: float, given: GivenSides | None = None) -> Sides:
    """Whether each image is for testing: as its source says (`given`, (N,)), else from its sha256 (N, 32) alone.

    Only when a side would be empty, the image nearest to it goes there, if its side is not given. Raises ValueError
    below two images, or when a side has none.
    """
    if len(digests) < 2:
        raise ValueError(
            f"a dataset needs at least 2 different images, one to train and one to test, got {len(digests)}"
        )
    # The first 52 bits as a number in 0..1, which is uniform; a float holds them exactly.
    places = (heads_of(digests) >> np.uint64(12)).astype(np.float64) / 2**52
    held_out = places < test_share
    free = np.ones(len(digests), dtype=np.bool_)
    if given is not None:
        free = given == GIVEN[None]
        held_out[~free] = given[~free] == GIVEN["test"]
    candidates = np.flatnonzero(free)
    for wanted, extreme in ((True, np.argmin), (False, np.argmax)):
        if not (held_out == wanted).any() and len(candidates):
            held_out[candidates[extreme(places[candidates])]] = wanted
    if held_out.all() or not held_out.any():
        raise ValueError(
            f"all {len(digests):,} images are given for {'test' if held_out[0] else 'train'} "
            "(data/raw/NAME/source.json: split); add images for the other side, or set split to null there"
        )
    return held_out


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

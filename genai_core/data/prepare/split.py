"""Train/test split. No image ever moves from test to train while images are added.

The split of an image therefore depends only on its own content and on the splits its source states, never on other
images. An empty split is not filled: an image held out because there is no other would have to stay held out whatever
is added later. The same would apply to the image chosen for every other selection of images, all but one.
"""

import numpy as np
import numpy.typing as npt

from genai_core.data.cache.digest_index import prefixes_of
from genai_core.data.dataset.dataset import Split
from genai_core.data.dataset.facts import Digests

HeldOut = npt.NDArray[np.bool_]
GivenSplits = npt.NDArray[np.int8]
# The split that a source states for its images; None: each image's content decides.
GIVEN: dict[Split | None, int] = {"test": 0, "train": 1, None: 2}


def is_held_out(digests: Digests, test_share: float, given: GivenSplits) -> HeldOut:
    """Whether each file is for testing: as its source states, given (N,), else by its pixels' sha256 (N, 32)."""
    # The first 52 bits as a uniform number in 0..1; a float represents them exactly.
    numbers = (prefixes_of(digests) >> np.uint64(12)).astype(np.float64) / 2**52
    return np.where(given == GIVEN[None], numbers < test_share, given == GIVEN["test"])


def ranks(held_out: HeldOut, given: GivenSplits) -> npt.NDArray[np.int64]:
    """Rank files (N,); among equal pixels the lowest rank is kept: first held-out files, then files with a given split.

    Held-out files come first whatever decided it. Otherwise an image held out by its content would move to train as
    soon as a training source contains a copy of it.
    """
    return np.where(held_out, 0, 2) + np.where(given == GIVEN[None], 1, 0)


def check_both_splits(held_out: HeldOut, given: GivenSplits, test_share: float) -> None:
    """Raise ValueError unless the distinct images (N,) include at least one for each split."""
    count = len(held_out)
    if count < 2:
        raise ValueError(f"a dataset needs at least 2 different images, one to train and one to test, got {count}")
    if held_out.any() and not held_out.all():
        return
    here, lacking = ("test", "train") if held_out[0] else ("train", "test")
    if (given != GIVEN[None]).all():
        raise ValueError(
            f"all {count:,} images are assigned to {here} by their sources (data/raw/NAME/source.json: split); add "
            "images for the other split, or set split to null there"
        )
    raise ValueError(
        f"all {count:,} images are for {here}, none for {lacking}: each image's content decides, by data.test_share "
        f"({test_share:g}); no image is moved to fill a split, because it would change splits later; add images, "
        f"change the share, or put some into their own folder, data/raw/NAME, with a source.json that says "
        f'"split": "{lacking}"'
    )


def train_images_near_test(pairs: npt.NDArray[np.int64], held_out: HeldOut) -> dict[int, int]:
    """Return training images to drop because a test image looks the same, each with the first such test image.

    pairs: near duplicates (P, 2), sorted. The test image stays, so that the split depends only on each image's own
    content. Moving the training image to test instead would let chains of similar images pull whole classes over.
    """
    gone: dict[int, int] = {}
    for one, other in pairs[held_out[pairs[:, 0]] != held_out[pairs[:, 1]]].tolist():
        train, test = (other, one) if held_out[one] else (one, other)
        gone.setdefault(train, test)
    return gone

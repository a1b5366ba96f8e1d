from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.prepare.duplicates import find_duplicates
from genai_core.data.prepare.split import GIVEN, check_both_splits, is_held_out, ranks, train_images_near_test

DIGESTS = st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=60, unique=True)
SHARES = st.floats(0.01, 0.99)
SPLITS = st.sampled_from(["train", "test", None])


@dataclass(frozen=True)
class File:
    """A file of a source: the hash of its pixels, and its given split."""

    digest: bytes
    side: str | None = None

    @classmethod
    def at(cls, place: float, side: str | None = None) -> "File":
        """A file whose content hash is at this place between 0 and 1, to compare with the share."""
        return cls(int(place * 2**64).to_bytes(8, "big") + bytes(24), side)


def split(files, share: float) -> dict[bytes, bool]:
    """Whether each image of the dataset that prepare makes of these files is held out. Raises ValueError."""
    digests = as_array([file.digest for file in files])
    given_splits = as_given(file.side for file in files)
    held_out = is_held_out(digests, share, given_splits)
    labels = np.zeros(len(files), dtype=np.int64)
    kept = find_duplicates(DigestIndex(digests), labels, ranks(held_out, given_splits), np.arange(len(files))).kept
    check_both_splits(held_out[kept], given_splits[kept], share)
    return {files[row].digest: bool(held_out[row]) for row in kept.tolist()}


def as_given(sides):
    return np.array([GIVEN[side] for side in sides], dtype=np.int8)


def as_array(digests):
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)


def content_decides(digests, share):
    return is_held_out(as_array(digests), share, as_given([None] * len(digests)))


def test_the_share_is_about_the_requested_one():
    digests = np.random.default_rng(0).integers(0, 256, (10_000, 32), dtype=np.uint8)
    # Four standard deviations of a binomial.
    assert abs(content_decides(digests, 0.2).mean() - 0.2) < 4 * (0.2 * 0.8 / 10_000) ** 0.5


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), SPLITS), min_size=1, max_size=4), min_size=2, max_size=6),
    SHARES,
)
def test_no_image_ever_moves_from_test_to_train(rounds, share):
    """Few different contents, so that copies in other splits occur too, and the smallest possible datasets."""
    files, tested = [], set()
    for added in rounds:
        files += [File.at(content / 10 + 0.05, side) for content, side in added]
        try:
            sides = split(files, share)
        except ValueError:
            continue  # no dataset yet; the next images may complete one
        assert tested <= {digest for digest, held_out in sides.items() if held_out}
        tested = {digest for digest, held_out in sides.items() if held_out}


def test_three_images_above_the_share_hold_out_none_that_a_fourth_would_move_back():
    """The nearest used to be held out while there was no other, and trained on once there was."""
    files = [File.at(0.5), File.at(0.6), File.at(0.7)]
    with pytest.raises(ValueError, match=r"all 3 images are for train, none for test: .*share \(0\.2\).*\"test\""):
        split(files, 0.2)
    assert list(split([*files, File.at(0.1)], 0.2).values()) == [False, False, False, True]
    with pytest.raises(ValueError, match=r"all 2 images are for test, none for train: .*\"split\": \"train\""):
        split([File.at(0.05), File.at(0.1)], 0.2)


def test_a_copy_in_a_training_source_keeps_the_test_image():
    files = [File.at(0.1), File.at(0.5)]
    assert (
        split([*files, File.at(0.1, "train")], 0.2)
        == split(files, 0.2)
        == {files[0].digest: True} | {files[1].digest: False}
    )


@given(DIGESTS, SHARES, st.randoms())
def test_order_and_other_files_do_not_matter(digests, share, random):
    sides = dict(zip(digests, content_decides(digests, share).tolist(), strict=True))
    random.shuffle(digests)
    some = digests[: len(digests) // 2]
    assert dict(zip(some, content_decides(some, share).tolist(), strict=True)) == {name: sides[name] for name in some}


@given(DIGESTS, SHARES)
def test_a_dataset_has_both_splits_or_is_refused(digests, share):
    held_out = content_decides(digests, share)
    if 0 < held_out.sum() < len(held_out):
        check_both_splits(held_out, as_given([None] * len(digests)), share)
    else:
        with pytest.raises(ValueError, match="none for t"):
            check_both_splits(held_out, as_given([None] * len(digests)), share)


@given(DIGESTS, st.data())
def test_given_splits_are_kept(digests, data):
    given_splits = data.draw(st.lists(SPLITS, min_size=len(digests), max_size=len(digests)))
    held_out = is_held_out(as_array(digests), 0.5, as_given(given_splits))
    for side, is_test in zip(given_splits, held_out, strict=True):
        assert side is None or (side == "test") == is_test


@pytest.mark.parametrize("side", ["train", "test"])
def test_all_images_given_for_one_split_are_an_error(side):
    with pytest.raises(ValueError, match=rf"all 2 images are assigned to {side} .*source.json"):
        split([File.at(0.1, side), File.at(0.9, side)], 0.5)


def test_single_image_is_an_error():
    with pytest.raises(ValueError, match="at least 2 different images, one to train and one to test, got 1"):
        split([File.at(0.1), File.at(0.1)], 0.5)


def test_a_training_image_near_a_test_image_is_removed():
    held_out = np.array([False, True, False, True, False])
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 3], [3, 4]])
    assert train_images_near_test(pairs, held_out) == {0: 1, 4: 3}

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_core.data.split import GIVEN, is_held_out, train_images_near_test

DIGESTS = st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=60, unique=True)


def as_given(sides):
    return np.array([GIVEN[side] for side in sides], dtype=np.int8)


def as_array(digests):
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)


def test_share_is_about_what_was_asked_for():
    digests = np.random.default_rng(0).integers(0, 256, (10_000, 32), dtype=np.uint8)
    # Four standard deviations of a binomial.
    assert abs(is_held_out(digests, 0.2).mean() - 0.2) < 4 * (0.2 * 0.8 / 10_000) ** 0.5


@given(DIGESTS, st.floats(0.01, 0.99))
def test_no_image_moves_from_test_to_train_as_the_dataset_grows(digests, share):
    """But for the single image that was put on a side that was empty."""
    for count in range(2, len(digests)):
        before, after = is_held_out(as_array(digests[:count]), share), is_held_out(as_array(digests), share)[:count]
        moved = before & ~after
        assert moved.sum() <= (before.sum() == 1)


@given(DIGESTS, st.floats(0.01, 0.99), st.randoms())
def test_order_and_company_say_nothing(digests, share, random):
    sides = dict(zip(digests, is_held_out(as_array(digests), share).tolist(), strict=True))
    random.shuffle(digests)
    assert dict(zip(digests, is_held_out(as_array(digests), share).tolist(), strict=True)) == sides


@given(DIGESTS, st.floats(0.01, 0.99))
def test_both_sides_have_an_image(digests, share):
    held_out = is_held_out(as_array(digests), share)
    assert 0 < held_out.sum() < len(held_out)


@given(DIGESTS, st.data())
def test_a_given_separation_is_kept(digests, data):
    given_sides = data.draw(
        st.lists(st.sampled_from(["train", "test", None]), min_size=len(digests), max_size=len(digests))
    )
    if None not in given_sides and len(set(given_sides)) == 1:
        with pytest.raises(
            ValueError, match=rf"all {len(digests)} images are given for {given_sides[0]} .*source.json"
        ):
            is_held_out(as_array(digests), 0.5, as_given(given_sides))
        return
    held_out = is_held_out(as_array(digests), 0.5, as_given(given_sides))
    for side, is_test in zip(given_sides, held_out, strict=True):
        assert side is None or (side == "test") == is_test


def test_the_nearest_image_fills_an_empty_side():
    low, high = bytes(32), b"\xff" * 32
    assert is_held_out(as_array([low, b"\x10" + low[1:]]), 0.5).tolist() == [True, False]
    assert is_held_out(as_array([high, b"\xe0" + high[1:]]), 0.5).tolist() == [False, True]


def test_single_image_is_an_error():
    with pytest.raises(ValueError, match="at least 2 different images, one to train and one to test, got 1"):
        is_held_out(as_array([bytes(32)]), 0.5)


def test_training_image_near_a_test_image_goes_and_the_test_image_stays():
    held_out = np.array([False, True, False, True, False])
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 3], [3, 4]])
    assert train_images_near_test(pairs, held_out) == {0: 1, 4: 3}

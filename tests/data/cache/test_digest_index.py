import numpy as np
import pytest

from genai_core.data.cache.digest_index import DigestIndex, may_be_in
from genai_core.data.dataset.facts import Digests


def digests(count: int, seed: int, heads: int = 5) -> Digests:
    """Hashes with many duplicates, and more that begin with the same eight bytes."""
    rng = np.random.default_rng(seed)
    made = np.zeros((count, 32), dtype=np.uint8)
    made[:, 0] = rng.integers(0, heads, count)
    made[:, 20] = rng.integers(0, 4, count)
    return made


@pytest.mark.parametrize("count", [0, 1, 60])
def test_order_sorts_whole_hashes_stably(count):
    made = digests(count, seed=1)
    index = DigestIndex(made)
    assert index.order.tolist() == sorted(range(count), key=lambda row: made[row].tobytes())


@pytest.mark.parametrize("heads", [1, 5, 200])
@pytest.mark.parametrize("among", [0, 1, 60])
@pytest.mark.parametrize("wanted", [0, 1, 60])
def test_each_hash_is_found_at_its_first_place(among, wanted, heads):
    there, asked = digests(among, seed=1, heads=heads), digests(wanted, seed=2, heads=heads)
    first = {made.tobytes(): row for row, made in reversed(list(enumerate(there)))}
    found = DigestIndex(there).find(DigestIndex(asked))
    assert found.tolist() == [first.get(one.tobytes(), -1) for one in asked]


def test_a_subset_is_in_order_without_sorting():
    made = digests(60, seed=3)
    rows = np.arange(5, 60, 3)
    part, whole = DigestIndex(made).at(rows), DigestIndex(made[rows])
    assert (part.digests == whole.digests).all()
    assert part.order.tolist() == whole.order.tolist()
    assert (part.prefixes == whole.prefixes).all()


def test_an_index_of_some_rows_is_in_order_and_has_no_others():
    made = digests(60, seed=4)
    rows = np.random.default_rng(0).permutation(60)[:40]
    index = DigestIndex.of_rows(made, rows)
    assert index.order.tolist() == sorted(rows.tolist(), key=lambda row: (made[row].tobytes(), row))
    there = DigestIndex(digests(60, seed=5))
    everywhere = there.find(DigestIndex(made))
    expected = np.full(60, -1)
    expected[rows] = everywhere[rows]
    assert there.find(index).tolist() == expected.tolist()
    first = {made[row].tobytes(): row for row in sorted(rows.tolist(), reverse=True)}
    assert index.find(there).tolist() == [first.get(one.tobytes(), -1) for one in there.digests]


def test_candidates_include_all_matches():
    many, few = np.random.default_rng(0).integers(0, 256, (2, 500, 32), dtype=np.uint8)
    many[::50] = few[:10]
    found = may_be_in(many, few[:20])
    assert set(range(0, 500, 50)) <= set(found.tolist())
    assert len(found) < 20
    assert len(may_be_in(many, few[:0])) == len(may_be_in(many[:0], few)) == 0

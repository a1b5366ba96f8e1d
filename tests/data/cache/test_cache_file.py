"""Private files: what was written is read again, and of a damaged one nothing is taken."""

import numpy as np
import pytest

from genai_core.data.cache.cache_file import CacheMissError, delete_caches, read_cache, write_cache

WANTED = {"a": np.int64, "b": np.dtype([("x", "u1", (3,)), ("y", "<u8")])}


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "new" / "one.kept"
    b = np.zeros(2, dtype=WANTED["b"])
    b["x"], b["y"] = [[1, 2, 3], [4, 5, 6]], [7, 8]
    write_cache(path, {"a": np.arange(6).reshape(2, 3), "none": np.empty((0, 32), np.uint8), "b": b}, {"c": [1, None]})
    return path


def test_arrays_come_back(kept):
    arrays, metadata = read_cache(kept, WANTED)
    assert arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (arrays["b"]["x"].tolist(), arrays["b"]["y"].tolist()) == ([[1, 2, 3], [4, 5, 6]], [7, 8])
    assert metadata == {"c": [1, None]}
    assert read_cache(kept, {"none": np.uint8})[0]["none"].shape == (0, 32)


def test_no_damaged_byte_is_taken(kept):
    whole = kept.read_bytes()
    damaged = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(len(whole))]
    for content in [*damaged, *(whole[:end] for end in range(len(whole)))]:
        kept.write_bytes(content)
        with pytest.raises(CacheMissError):
            read_cache(kept, {**WANTED, "none": np.uint8})


@pytest.mark.parametrize("wanted", [{"a": np.int32}, {"d": np.int64}])
def test_another_form_is_not_taken(kept, wanted):
    with pytest.raises(CacheMissError):
        read_cache(kept, wanted)


def test_others_are_forgotten_but_what_is_being_written(kept):
    folder = kept.parent
    for name in ("one.npz", "one.7.new", "two.kept"):
        (folder / name).touch()
    delete_caches(folder, "one", [kept])
    assert sorted(path.name for path in folder.iterdir()) == ["one.7.new", "one.kept", "two.kept"]

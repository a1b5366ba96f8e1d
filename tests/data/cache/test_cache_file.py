"""Cache files: round trips, and damaged files are not used."""

import os

import numpy as np
import pytest

from genai_core.data.cache.cache_file import CACHE_EXTENSION, CacheMissError, delete_caches, read_cache, write_cache

WANTED = {"a": np.int64, "b": np.dtype([("x", "u1", (3,)), ("y", "<u8")])}


@pytest.fixture
def cached(tmp_path):
    path = tmp_path / "new" / f"one{CACHE_EXTENSION}"
    b = np.zeros(2, dtype=WANTED["b"])
    b["x"], b["y"] = [[1, 2, 3], [4, 5, 6]], [7, 8]
    write_cache(path, {"a": np.arange(6).reshape(2, 3), "none": np.empty((0, 32), np.uint8), "b": b}, {"c": [1, None]})
    return path


def test_round_trip(cached):
    arrays, metadata = read_cache(cached, WANTED)
    assert arrays.keys() == WANTED.keys()
    assert arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (arrays["b"]["x"].tolist(), arrays["b"]["y"].tolist()) == ([[1, 2, 3], [4, 5, 6]], [7, 8])
    assert metadata == {"c": [1, None]}
    assert read_cache(cached, {"none": np.uint8})[0]["none"].shape == (0, 32)


def test_a_file_with_a_damaged_byte_is_not_used(cached):
    whole = cached.read_bytes()
    damaged = [whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :] for index in range(len(whole))]
    for content in [*damaged, *(whole[:end] for end in range(len(whole)))]:
        cached.write_bytes(content)
        with pytest.raises(CacheMissError):
            read_cache(cached, {**WANTED, "none": np.uint8})


@pytest.mark.parametrize("wanted", [{"a": np.int32}, {"d": np.int64}])
def test_another_format_is_not_used(cached, wanted):
    with pytest.raises(CacheMissError):
        read_cache(cached, wanted)


def test_only_wanted_arrays_are_read(cached):
    content = bytearray(cached.read_bytes())
    begin = content.index(np.arange(6).tobytes())  # in a, which is not requested below
    content[begin] ^= 1
    cached.write_bytes(content)
    assert read_cache(cached, {"b": WANTED["b"]})[0]["b"]["y"].tolist() == [7, 8]
    with pytest.raises(CacheMissError):
        read_cache(cached, WANTED)


def test_a_write_error_is_an_os_error_and_keeps_the_old_file(cached):
    before = cached.read_bytes()
    cached.with_suffix(f".{os.getpid()}.new").mkdir()
    with pytest.raises(OSError, match=cached.name):
        write_cache(cached, {}, None)
    assert cached.read_bytes() == before


def test_other_files_are_deleted_except_those_being_written(cached):
    folder = cached.parent
    for name in ("one.npz", "one.7.new", "two.kept"):
        (folder / name).touch()
    delete_caches(folder, "one", [cached])
    assert sorted(path.name for path in folder.iterdir()) == ["one.7.new", cached.name, "two.kept"]

import hashlib
import io
import os
import time

import numpy as np
import pytest

from genai_core.data.cache import intact_shards as module
from genai_core.data.cache.intact_shards import delete_shard_cache, intact_shards


@pytest.fixture
def shards(tmp_path):
    """A folder of three shards that were written a minute ago."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        file = io.BytesIO()
        np.save(file, np.full((2 + number, 1, 4, 4), number, dtype=np.uint8))
        path = folder / f"{hashlib.sha256(file.getbuffer()).hexdigest()}.npy"
        path.write_bytes(file.getbuffer())
        age(path)
    return folder


@pytest.fixture
def hashed(monkeypatch):
    """The names of the shards that were hashed."""
    names, look = [], module._shape_if_intact
    monkeypatch.setattr(module, "_shape_if_intact", lambda path: (names.append(path.name), look(path))[1])
    return names


def age(path, seconds=60):
    os.utime(path, ns=(time.time_ns() - seconds * 10**9,) * 2)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_shard_is_hashed_once_and_its_shape_is_known(shards, tmp_path, hashed):
    names = names_in(shards)
    first = intact_shards(shards, names, tmp_path / "cache")
    assert {name: shard.shape for name, shard in first.items()} == {
        name: np.load(shards / name).shape for name in names
    }
    assert sorted(hashed) == names
    assert intact_shards(shards, names, tmp_path / "cache") == first
    assert len(hashed) == 3


def test_without_a_cache_every_shard_is_hashed(shards, tmp_path, hashed):
    names = names_in(shards)
    for cache_folder in (None, None, tmp_path / "cache"):
        assert len(intact_shards(shards, names, cache_folder)) == 3
    assert len(hashed) == 9
    delete_shard_cache(tmp_path / "cache")
    assert len(intact_shards(shards, names, tmp_path / "cache")) == 3
    assert len(hashed) == 12
    (kept,) = (tmp_path / "cache").iterdir()
    for damaged in (b"", b"damaged", kept.read_bytes()[:-3]):
        kept.write_bytes(damaged)
        assert len(intact_shards(shards, names, tmp_path / "cache")) == 3
    assert len(hashed) == 21


def test_another_link_is_the_same_shard_and_a_copy_is_hashed(shards, tmp_path, hashed):
    names = names_in(shards)
    intact_shards(shards, names, tmp_path / "cache")
    linked, copied = tmp_path / "linked", tmp_path / "copied"
    for folder, put in ((linked, os.link), (copied, lambda old, new: new.write_bytes(old.read_bytes()))):
        folder.mkdir()
        for name in names:
            put(shards / name, folder / name)
    assert len(intact_shards(linked, names, tmp_path / "cache")) == 3
    assert len(hashed) == 3
    for name in names:
        (shards / name).unlink()
    assert len(intact_shards(linked, names, tmp_path / "cache")) == 3
    assert len(hashed) == 3
    assert len(intact_shards(copied, names, tmp_path / "cache")) == 3
    assert len(hashed) == 6


def test_changed_bytes_of_the_same_size_are_found(shards, tmp_path):
    names = names_in(shards)
    intact_shards(shards, names, tmp_path / "cache")
    with (shards / names[0]).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert list(intact_shards(shards, names, tmp_path / "cache")) == names[1:]
    (shards / names[1]).unlink()
    assert list(intact_shards(shards, names, tmp_path / "cache")) == names[2:]


def test_a_shard_written_just_now_is_hashed_again_next_time(shards, tmp_path, hashed):
    names = names_in(shards)
    age(shards / names[0], seconds=1)
    age(shards / names[1], seconds=-60)  # another machine's clock
    for _ in range(2):
        assert len(intact_shards(shards, names, tmp_path / "cache")) == 3
    assert sorted(hashed) == sorted([*names, *names[:2]])
    stat = (shards / names[0]).stat()
    with (shards / names[0]).open("r+b") as file:  # at once: within the resolution of a file system's clock
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    os.utime(shards / names[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sorted(intact_shards(shards, names, tmp_path / "cache")) == names[1:]


def test_intact_files_that_are_not_shards_are_skipped(tmp_path):
    for content in (b"no array", np.lib.format.magic(1, 0)):
        (tmp_path / f"{hashlib.sha256(content).hexdigest()}.npy").write_bytes(content)
    file = io.BytesIO()
    np.save(file, np.zeros((2, 3), dtype=np.float32))
    (tmp_path / f"{hashlib.sha256(file.getbuffer()).hexdigest()}.npy").write_bytes(file.getbuffer())
    assert intact_shards(tmp_path, names_in(tmp_path), None) == {}

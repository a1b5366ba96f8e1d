import os
import shutil
import time

import pytest

from genai_core.data.ingest.packing.pack_writer import PackWriter
from genai_core.data.raw import pack_indexes
from genai_core.data.raw.pack_indexes import delete_other_indexes, indexed_pack
from genai_core.data.raw.packs import read_pack


@pytest.fixture
def pack(tmp_path):
    """A pack that was not changed recently."""
    writer = PackWriter(tmp_path / "set", first_number=0)
    for number in range(5):
        writer.add(f"cat/{number}.png", bytes(number))
    path = tmp_path / "set" / writer.finish()[0]
    age(path)
    return path


def age(path):
    """Set its modification time to a minute ago. Its ctime is new all the same, so `reads` sets RACY_NS to 0."""
    os.utime(path, ns=(time.time_ns() - 60 * 10**9,) * 2)


@pytest.fixture
def reads(monkeypatch):
    """The packs that were read."""
    seen = []
    monkeypatch.setattr(pack_indexes, "RACY_NS", 0)
    monkeypatch.setattr(pack_indexes, "read_pack", lambda path: (seen.append(path.name), read_pack(path))[1])
    return seen


def same(one, other):
    assert one.names == other.names
    assert (one.starts.tolist(), one.offsets.tolist(), one.sizes.tolist(), one.end) == (
        *(other.starts.tolist(), other.offsets.tolist(), other.sizes.tolist(), other.end),
    )
    assert (one.rejected, one.skipped, one.damage) == (other.rejected, other.skipped, other.damage)
    return True


def test_an_old_pack_is_read_once(pack, tmp_path, reads):
    first, stamp = indexed_pack(pack, tmp_path / "indexes")
    again, stamp_again = indexed_pack(pack, tmp_path / "indexes")
    assert same(first, again)
    assert same(first, read_pack(pack))
    assert stamp.key == stamp_again.key
    assert len(reads) == 1


def test_index_is_rebuilt_when_it_is_missing_damaged_or_stale(pack, tmp_path, reads):
    indexes = tmp_path / "indexes"
    first, _ = indexed_pack(pack, indexes)
    (index,) = indexes.iterdir()
    content = index.read_bytes()
    for damaged in (b"", b"damaged", content[:-30], content[: len(content) // 2], b"PK" + bytes(100)):
        index.write_bytes(damaged)
        assert same(indexed_pack(pack, indexes)[0], first)
    shutil.rmtree(indexes)
    assert same(indexed_pack(pack, indexes)[0], first)
    os.utime(pack)
    assert same(indexed_pack(pack, indexes)[0], first)
    assert len(reads) == 8
    assert same(indexed_pack(pack, indexes)[0], first)
    assert len(reads) == 8


def test_damage_is_cached_too(pack, tmp_path, reads):
    pack.write_bytes(pack.read_bytes()[:1000])
    first, _ = indexed_pack(pack, tmp_path / "indexes")
    assert first.damage
    assert same(first, indexed_pack(pack, tmp_path / "indexes")[0])
    assert len(reads) == 1


def test_a_recently_changed_pack_is_read_again(pack, tmp_path, reads, monkeypatch):
    monkeypatch.setattr(pack_indexes, "RACY_NS", 60 * 10**9)
    for _ in range(2):
        assert indexed_pack(pack, tmp_path / "indexes")[1].is_racy
    assert len(reads) == 2


def test_indexes_of_deleted_packs_are_deleted(pack, tmp_path, reads):
    other = pack.with_name("other.tar")
    shutil.copy(pack, other)
    for path in (pack, other):
        indexed_pack(path, tmp_path / "indexes")
    delete_other_indexes([pack], tmp_path / "indexes")
    assert len(list((tmp_path / "indexes").iterdir())) == 1
    indexed_pack(pack, tmp_path / "indexes")
    assert len(reads) == 2

import io
import os
import tarfile

import pytest

from genai_core.data.ingest import remove
from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.remove import remove_images
from tests.packed import files_in


@pytest.fixture
def photos(tmp_path, raw, add, save_images):
    """Two packs of three images each, and two plain files."""
    for seed, name in ((1, "hat"), (2, "shirt")):
        save_images(tmp_path / "source" / name, 3, seed=seed)
        add(tmp_path / "source", choices=Choices(layout="class-folders"))
    save_images(raw / "set" / "hat", 2, seed=9)
    return raw / "set"


def packs(folder):
    return {path.name: path.stat().st_ino for path in folder.glob("*.tar")}


def nothing_beside(raw):
    return [path.name for path in raw.parent.iterdir()] == [raw.name]


def test_only_the_packs_with_the_images_are_rewritten(photos, raw):
    before, images = packs(photos), files_in(photos)
    removed = remove_images(raw, "set", ["hat/01-001.png"])
    assert (removed.images, removed.left_images, removed.rewritten_packs) == (("set/hat/01-001.png",), 7, 1)
    after = packs(photos)
    assert [name for name in before if name in after] == [sorted(before)[1]]
    assert sorted(name[:5] for name in after) == ["0000-", "0001-"]
    gone = images.pop("hat/01-001.png")
    assert files_in(photos) == images
    assert not any(gone in path.read_bytes() for path in photos.rglob("*") if path.is_file())
    assert nothing_beside(raw)


def test_the_rest_equals_adding_only_the_rest(photos, raw, tmp_path, add, save_images):
    save_images(tmp_path / "other" / "shirt", 3, seed=2)
    (tmp_path / "other/shirt/02-001.png").unlink()
    add(tmp_path / "other", "other", choices=Choices(layout="class-folders"))
    remove_images(raw, "set", ["shirt/02-001.png"])
    one, other = sorted(photos.glob("*.tar"))[1], next((raw / "other").glob("*.tar"))
    assert one.read_bytes() == other.read_bytes()
    assert (one.name[5:], other.name[5:]) == (other.name[5:],) * 2


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        (["hat/*"], 5),
        (["set/hat/09-000.png"], 1),
        (["*-002.png", "hat/01-002.png"], 2),
        (["hat/0[19]-00?.png"], 5),
        (["shirt/*", "nothing/*"], 3),
    ],
)
def test_patterns(patterns, count, photos, raw):
    before = files_in(photos)
    dry = remove_images(raw, "set", patterns, dry_run=True)
    assert files_in(photos) == before
    removed = remove_images(raw, "set", patterns)
    assert removed == dry
    assert len(removed.images) == count
    assert removed.unmatched == tuple(pattern for pattern in patterns if pattern == "nothing/*")
    assert {f"set/{name}" for name in before.keys() - files_in(photos).keys()} == set(removed.images)
    assert nothing_beside(raw)


def test_name_that_looks_like_a_glob_is_itself(tmp_path, raw, add, save_images):
    save_images(tmp_path / "source" / "a", 2)
    (tmp_path / "source/a/00-000.png").rename(tmp_path / "source/a/[x].png")
    add(tmp_path / "source", choices=Choices(layout="class-folders"))
    assert remove_images(raw, "set", ["a/[x].png"]).images == ("set/a/[x].png",)


def test_empty_packs_and_classes_are_deleted(photos, raw):
    remove_images(raw, "set", ["hat/*"])
    assert [name[:5] for name in packs(photos)] == ["0001-"]
    assert not (photos / "hat").exists()


def test_name_without_images_disappears(photos, raw):
    removed = remove_images(raw, "set", None)
    assert (len(removed.images), removed.left_images) == (8, 0)
    assert not photos.exists()
    assert nothing_beside(raw)


def test_an_empty_list_of_patterns_is_an_error(photos, raw):
    """As given by `genai data remove set $(cat list)` with an empty list."""
    before = files_in(photos)
    for dry_run in (True, False):
        with pytest.raises(ValueError, match=r"set: no name or pattern .*; nothing was removed; pass --all"):
            remove_images(raw, "set", [], dry_run=dry_run)
    assert files_in(photos) == before


@pytest.mark.parametrize("patterns", [["hat/none.png"], ["*.gif", "x"], [""], ["set/"], ["/"]])
def test_nothing_matches(patterns, photos, raw):
    before = files_in(photos)
    with pytest.raises(ValueError, match=r"set: no image matches .*; nothing was removed"):
        remove_images(raw, "set", patterns)
    assert files_in(photos) == before


@pytest.mark.parametrize("name", ["none", "..", ".", "set/hat", "/", ""])
def test_unknown_names_are_refused(name, photos, raw):
    with pytest.raises((NotADirectoryError, ValueError), match="no such folder; existing folders: set"):
        remove_images(raw, name, None)
    assert len(files_in(photos)) == 8


def test_a_wrong_label_is_corrected_by_remove_and_add(photos, raw, tmp_path, add):
    content = files_in(photos)["hat/01-000.png"]
    remove_images(raw, "set", ["hat/01-000.png"])
    (tmp_path / "corrected/shirt").mkdir(parents=True)
    (tmp_path / "corrected/shirt/01-000.png").write_bytes(content)
    assert add(tmp_path / "corrected").added_images == 1
    assert files_in(photos)["shirt/01-000.png"] == content
    assert len(files_in(photos)) == 8


def test_a_users_own_pack_keeps_its_name_and_other_members(raw):
    (raw / "set").mkdir(parents=True)
    with tarfile.open(raw / "set" / "mine.tar", "w") as pack:
        for name in ("a/1.png", "a/1.txt", "a/1.json", "read me.txt", f"a/{'ü' * 120}.png", "a/2.png"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = len(name), 12345, "me"
            pack.addfile(info, io.BytesIO(name.encode()[: info.size]))
    before = files_in(raw / "set")
    remove_images(raw, "set", ["a/1.png"])
    with tarfile.open(raw / "set" / "mine.tar") as pack:
        assert {(member.mtime, member.uname) for member in pack} == {(12345, "me")}
    assert files_in(raw / "set") == {
        name: content for name, content in before.items() if name not in ("a/1.png", "a/1.txt")
    }


def test_a_failure_leaves_everything_unchanged(photos, raw, monkeypatch):
    before = files_in(photos)
    calls = []

    def sync(file):
        calls.append(file)
        file.close()
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(remove, "sync_and_close", sync)
    with pytest.raises(OSError, match="No space left"):
        remove_images(raw, "set", ["*-000.png"])
    assert files_in(photos) == before
    assert nothing_beside(raw)


def test_a_damaged_pack_is_unchanged(photos, raw):
    path = next(photos.glob("*.tar"))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"truncated.*nothing was changed; restore the pack"):
        remove_images(raw, "set", ["hat/*"])


def test_link_into_a_cache_is_replaced_and_the_cache_stays(photos, raw, tmp_path):
    """`cache.type symlink`."""
    path = sorted(photos.glob("*.tar"))[0]
    cached = tmp_path / "cache/files/md5/0a/0123456789abcdef0123456789abcd"
    cached.parent.mkdir(parents=True)
    os.rename(path, cached)
    path.symlink_to(cached)
    content = cached.read_bytes()
    remove_images(raw, "set", ["hat/01-000.png"])
    assert cached.read_bytes() == content
    assert "hat/01-001.png" in files_in(photos)

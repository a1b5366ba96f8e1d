import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_core.data.raw.rules import class_of, count_classes, find_images, is_bad_name, printable, sorted_runs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_images_are_found_in_an_order_independent_of_the_file_system(tmp_path):
    touch(tmp_path, "b/2.png", "b/10.JPG", "a/deep/er/1.webp", "Z.gif", "a.png")
    assert find_images(tmp_path).files == ("Z.gif", "a.png", "a/deep/er/1.webp", "b/10.JPG", "b/2.png")


def test_hidden_and_other_files_are_skipped_and_counted(tmp_path):
    litter = [".git/1.png", "a/._1.png", "a/.DS_Store", "__MACOSX/a/1.png", "Thumbs.db"]
    touch(tmp_path, "a/1.png", "labels.csv", "a/notes.TXT", "a/README", *litter)
    found = find_images(tmp_path)
    assert found.files == ("a/1.png",)
    assert found.skipped == {".csv files": 1, ".txt files": 1, "hidden files and folders": 5, "unnamed files": 1}


def test_links_to_outside_are_not_followed(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    touch(outside, "secret.png", "folder/2.png")
    touch(inside, "a/1.png")
    (inside / "a" / "out.png").symlink_to(outside / "secret.png")
    (inside / "out").symlink_to(outside / "folder")
    (inside / "around").symlink_to(inside)
    (inside / "dangling.png").symlink_to(inside / "none.png")
    (inside / "circle.png").symlink_to(inside / "circle.png")
    (inside / "same.png").symlink_to("a/1.png")
    found = find_images(inside)
    assert found.files == ("a/1.png", "same.png")
    assert found.skipped == {"links": 5}
    assert found.refused == dict.fromkeys(["a/out.png", "out", "around", "dangling.png", "circle.png"], "link")


def test_files_that_dvc_links_from_its_cache_are_taken(tmp_path):
    # With `cache.type symlink`, all of data/raw is such links.
    touch(tmp_path, "cache/files/md5/0a/0123456789abcdef0123456789abcd", "raw/a/1.png")
    (tmp_path / "raw/a/2.png").symlink_to(tmp_path / "cache/files/md5/0a/0123456789abcdef0123456789abcd")
    assert find_images(tmp_path / "raw").files == ("a/1.png", "a/2.png")


def test_a_fifo_is_skipped_without_being_opened(tmp_path):
    touch(tmp_path, "1.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = find_images(tmp_path)
    assert found.files == ("1.png",)
    assert found.skipped == {"special files": 1}
    assert found.refused == {"pipe.png": "special_file"}


def test_names_that_a_table_cannot_contain_are_rejected(tmp_path):
    touch(tmp_path, "good.png", "emoji \U0001f600.png", "long" * 60 + ".png", "new\nline.png")
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff\xfe.png", os.O_CREAT | os.O_WRONLY))
    found = find_images(tmp_path)
    assert len(found.files) == 3
    assert found.bad_names == ("\\udcff\\udcfe.png", "new\\nline.png")


@pytest.mark.parametrize("name", ["a\x00b", "a\tb", "a\x7fb", "a\x85b", "a\u2028b", "\udc80"])
def test_bad_names(name):
    assert is_bad_name(name)
    assert not is_bad_name(printable(name))


@pytest.mark.parametrize("name", ["a b.png", "Ü.png", "日本.png", "a\u00a0b.png", "'\"$(x).png"])
def test_unusual_names_are_valid(name):
    assert not is_bad_name(name)
    assert printable(name) == name


def test_folder_without_images_is_one_clear_line(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(
        ValueError, match=rf"{tmp_path}: contains no image files; supported extensions: .*\.jpeg, \.jpg"
    ):
        find_images(tmp_path)
    with pytest.raises(NotADirectoryError, match="expected a folder"):
        find_images(tmp_path / "notes.txt")


PATHS = st.lists(st.text("ab/.0", min_size=1, max_size=6).filter(lambda path: "//" not in path), unique=True)


@given(paths=PATHS, depth=st.integers(1, 2))
def test_runs_of_sorted_paths_are_those_that_share_their_folders(paths, depth):
    paths = sorted(paths)
    found = [paths[begin:end] for begin, end in sorted_runs(paths, depth)]
    assert [path for run in found for path in run] == paths
    folders = [{tuple(path.split("/", depth)[:-1]) for path in run} for run in found]
    assert all(len(names) == 1 for names in folders)
    whole = [next(iter(names)) for names in folders if len(next(iter(names))) == depth]
    assert len(set(whole)) == len(whole)


def test_the_class_is_the_first_folder_below_the_name():
    assert class_of("digits/3/1.png") == "3"
    assert class_of("photos/hat/2024/1.png") == "hat"
    assert class_of("faces/1.png") is None
    assert class_of("1.png") is None
    assert count_classes(["d/b/1", "d/a/1", "e/b/2", "f/1"]) == {"a": 1, "b": 2}

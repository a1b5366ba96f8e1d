import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_core.data.ingest.add import add_source
from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.packing import pack_writer
from genai_core.data.ingest.readers.items import Understood
from genai_core.data.ingest.remove import remove_images
from tests.packed import files_in


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "workspace" / "data" / "raw"


@pytest.fixture
def photos(tmp_path, save_images):
    """Two classes of three and two images."""
    save_images(tmp_path / "My photos!" / "hat", 3, seed=1)
    save_images(tmp_path / "My photos!" / "shirt", 2, seed=2)
    return tmp_path / "My photos!"


def names(folder: Path) -> list[str]:
    """Images below a source or below data/raw/NAME."""
    return list(files_in(folder))


def nothing_else(raw: Path) -> bool:
    return [path.name for path in raw.parent.iterdir()] in ([], [raw.name])


def test_a_folder_is_copied_under_its_cleaned_name(photos, raw):
    added = add_source(str(photos), raw)
    assert (added.names, added.added_images, added.kept_images) == (("My-photos",), 5, 0)
    assert added.classes == {"hat": 3, "shirt": 2}
    assert names(raw / "My-photos") == names(photos)
    assert files_in(raw / "My-photos") == files_in(photos)
    assert nothing_else(raw)


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_an_archive_gives_the_same_as_its_folder(ending, wrapped, photos, raw, tmp_path):
    archive = tmp_path / f"set.{ending}"
    top = "around/" if wrapped else ""
    if ending == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for name in names(photos):
                opened.write(photos / name, top + name)
    else:
        with tarfile.open(archive, "w:gz" if ending == "tar.gz" else "w") as opened:
            opened.add(photos, top or ".")
    added = add_source(str(archive), raw)
    assert added.names == ("set",)
    assert added.wrapper == ("around" if wrapped else None)
    assert names(raw / "set") == names(photos)
    assert nothing_else(raw)


def test_a_single_folder_is_a_wrapper_unless_the_user_says_that_it_is_a_class(tmp_path, raw, save_images):
    save_images(tmp_path / "set" / "around" / "hat", 2)
    added = add_source(str(tmp_path / "set"), raw)
    assert (added.classes, added.wrapper) == ({}, "around/hat")
    remove_images(raw, "set", None)
    added = add_source(str(tmp_path / "set"), raw, choices=Choices(layout="class-folders"))
    assert (added.classes, added.wrapper) == ({"hat": 2}, "around")


def test_a_single_folder_is_a_class_beside_images_with_classes(photos, raw, tmp_path, save_images):
    add_source(str(photos), raw)
    save_images(tmp_path / "more" / "sock", 2, seed=5)
    assert add_source(str(tmp_path / "more"), raw).classes == {"sock": 2}


def test_a_class_without_images_is_named(photos, raw):
    (photos / "cow").mkdir()
    (photos / "cow" / "1.psd").write_bytes(b"x")
    added = add_source(str(photos), raw)
    assert added.classes == {"hat": 3, "shirt": 2}
    assert "note: no images in the folders cow" in added.notes


def test_flat_folder_has_no_classes(tmp_path, raw, save_images):
    save_images(tmp_path / "faces", 3)
    added = add_source(str(tmp_path / "faces"), raw)
    assert added.classes == {}
    assert len(names(raw / "faces")) == 3


def test_images_with_and_without_a_class_are_not_mixed(photos, raw, tmp_path, save_images):
    """prepare would refuse them, after every other step."""
    save_images(tmp_path / "faces", 3, seed=5)
    add_source(str(photos), raw)
    before = files_in(raw)
    for name in (None, "My-photos"):
        with pytest.raises(ValueError, match=r"faces: nothing was added: its images have no class, but the 5 in .*raw"):
            add_source(str(tmp_path / "faces"), raw, name)
    assert files_in(raw) == before
    assert [path.name for path in raw.iterdir()] == ["My-photos"]

    (tmp_path / "faces" / "labels.csv").write_text("file,label\n05-000.png,hat\n05-001.png,hat\n05-002.png,sock\n")
    assert add_source(str(tmp_path / "faces"), raw).classes == {"hat": 2, "sock": 1}


@pytest.mark.parametrize("loose", [False, True])
def test_labelled_images_are_not_added_to_unlabelled_ones(loose, photos, raw, tmp_path, save_images):
    if loose:  # files of a person in data/raw
        save_images(raw / "faces", 3, seed=5)
    else:
        save_images(tmp_path / "faces", 3, seed=5)
        add_source(str(tmp_path / "faces"), raw)
    with pytest.raises(
        ValueError, match=r"its images have a class, but 3 in .*first faces/05-000\.png.*genai data remove faces --all"
    ):
        add_source(str(photos), raw)
    remove_images(raw, "faces", None)
    assert add_source(str(photos), raw).added_images == 5


def test_builtin_digits_are_the_real_ones(raw):
    from sklearn.datasets import load_digits

    added = add_source("builtin:digits", raw)
    assert (added.names, added.added_images) == (("digits",), 1797)
    digits = load_digits()
    assert added.classes == {str(label): int(count) for label, count in enumerate(np.bincount(digits.target))}
    files = files_in(raw / "digits")
    for number in (0, 1000, 1796):
        with Image.open(io.BytesIO(files[f"{digits.target[number]}/{number:04d}.png"])) as image:
            assert image.mode == "L"
            assert (np.asarray(image) == np.rint(digits.images[number] * 255 / 16)).all()


def test_adding_again_appends_and_keeps_equal_files(photos, raw, save_images):
    add_source(str(photos), raw)
    assert add_source(str(photos), raw).kept_images == 5
    save_images(photos / "hat", 1, seed=9)
    save_images(photos / "sock", 2, seed=10)
    added = add_source(str(photos), raw)
    assert (added.added_images, added.kept_images) == (3, 5)
    assert names(raw / "My-photos") == names(photos)
    assert nothing_else(raw)


def test_other_content_under_one_name_is_refused_with_advice_to_use_as(photos, raw, save_images):
    add_source(str(photos), raw)
    before = names(raw)
    (name,) = save_images(photos / "shirt", 1, seed=2, size=13)
    save_images(photos / "new", 1, seed=11)
    with pytest.raises(
        ValueError, match=rf"shirt/{name} exists with other content; nothing was added.*--as My-photos-2"
    ):
        add_source(str(photos), raw)
    assert names(raw) == before
    assert add_source(str(photos), raw, "My-photos-2").added_images == 6
    assert nothing_else(raw)


def test_a_failed_move_is_undone(photos, raw, save_images, monkeypatch):
    add_source(str(photos), raw)
    before = names(raw)
    save_images(photos / "new", 3, seed=11)
    real_replace, calls = os.replace, []
    monkeypatch.setattr(pack_writer, "MAX_PACK_BYTES", 3000)  # several packs

    def replace(old, new):
        calls.append(new)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real_replace(old, new)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space left"):
        add_source(str(photos), raw)
    assert names(raw) == before
    assert nothing_else(raw)


def test_files_of_a_killed_command_do_not_block(photos, raw):
    left = raw.with_name(".raw.new") / "images" / "x.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    add_source(str(photos), raw)
    assert len(names(raw / "My-photos")) == 5
    assert nothing_else(raw)


def test_only_images_are_taken_and_other_files_are_named(photos, raw, tmp_path):
    (photos / "hat" / "notes.txt").write_text("x")
    (photos / ".git").mkdir()
    (photos / "out.png").symlink_to("/etc/hostname")
    os.mkfifo(photos / "hat" / "pipe.png")
    (photos / "hat" / "new\nline.png").write_bytes(b"x")
    added = add_source(str(photos), raw)
    assert added.added_images == 5
    assert added.skipped == {".txt files": 1, "hidden files and folders": 1, "links": 1, "special files": 1}
    assert added.bad_names == ("hat/new\\nline.png",)


def test_a_link_inside_the_source_becomes_a_separate_file(photos, raw):
    (photos / "hat" / "same.png").symlink_to(photos / "hat" / "01-000.png")
    add_source(str(photos), raw)
    files = files_in(raw / "My-photos")
    assert files["hat/same.png"] == files["hat/01-000.png"]


def test_folders_of_splits_are_reported(tmp_path, raw, save_images):
    save_images(tmp_path / "set" / "train", 2, seed=1)
    save_images(tmp_path / "set" / "validation", 1, seed=2)
    added = add_source(str(tmp_path / "set"), raw)
    assert added.understood == Understood("images without class folders", "", "the folders train and validation")
    assert (added.splits, added.notes) == ({"train": 2, "test": 1}, ())


def test_invalid_sources_are_refused(tmp_path, raw, save_images):
    (tmp_path / "image.png").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for source, message in {
        tmp_path / "missing": "no such folder or file; built in: builtin:digits",
        tmp_path / "image.png": "expected a folder, an archive",
        tmp_path / "empty": "contains no image files; supported extensions",
        "builtin:faces": "no such built-in dataset; available: builtin:digits",
        "/": "cannot derive a name from it",
    }.items():
        with pytest.raises((ValueError, OSError), match=message):
            add_source(str(source), raw)
    assert not raw.exists()
    assert nothing_else(raw)


def test_folder_cannot_be_added_to_itself(raw, save_images):
    save_images(raw / "set" / "a", 2)
    for source in (raw, raw.parent, raw / "set", raw / ".." / ".."):
        with pytest.raises(ValueError, match="cannot be added to itself"):
            add_source(str(source), raw, "again")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", ".hidden", "-x", "a b", "x" * 65, "a\n"])
def test_names_that_cannot_be_folder_names_are_refused(name, photos, raw):
    with pytest.raises(ValueError, match="use at most 64 letters, digits"):
        add_source(str(photos), raw, name)


def test_dangerous_archive_leaves_nothing(tmp_path, raw):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.png", b"x")
        archive.writestr("../../evil.png", b"x")
    with pytest.raises(ValueError, match=r"member \.\./\.\./evil\.png points outside the folder"):
        add_source(str(tmp_path / "x.zip"), raw)
    assert nothing_else(raw)
    assert not list(tmp_path.rglob("evil.png"))


def test_copying_reports_progress(photos, raw):
    seen = []
    add_source(str(photos), raw, on_added=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


def test_a_second_simultaneous_add_is_refused(photos, raw):
    seen = []

    def add_another(_done, _total):
        with pytest.raises(ValueError, match="another command is adding or removing images"):
            add_source(str(photos), raw, "other")
        seen.append(True)

    assert add_source(str(photos), raw, on_added=add_another).added_images == 5
    assert len(seen) == 5
    assert add_source(str(photos), raw, "other").added_images == 5

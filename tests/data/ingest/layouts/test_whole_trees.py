"""Files of a tree that are no images of their own, and folders that are no classes."""

import shutil

import pytest

from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.readers.recognise import read_source
from tests.data.ingest.trees import labels, read, write, write_csv
from tests.packed import files_in


def test_masks_are_left_out_and_said(root, images, save_images):
    names = images("images", 4)
    for name in names:
        (root / "masks").mkdir(exist_ok=True)
        (root / "masks" / name).write_bytes((root / "images" / name).read_bytes())
    reading, said = read(root)
    assert labels(said) == dict.fromkeys(names)
    assert reading.skipped == {"masks": 4}
    assert "note: masks/: taken as masks of other images and left out" in reading.notes


def test_system_files_are_no_classes(root, images):
    for folder in ("hat", "shoe", "__MACOSX/hat", "@eaDir/1.jpg", ".ipynb_checkpoints"):
        images(folder, 2)
    for name in (".DS_Store", "hat/Thumbs.db", "shoe/desktop.ini"):
        (root / name).write_bytes(b"x")
    reading, said = read(root)
    assert set(labels(said).values()) == {"hat", "shoe"}
    assert reading.skipped == {"hidden files and folders": 6}


def test_shards_become_one_flat_set(root, add, raw, save_images):
    for shard in range(3):
        for n, name in enumerate(save_images(root / f"{shard:05d}", 4, seed=shard)):
            (root / f"{shard:05d}" / name).rename(root / f"{shard:05d}" / f"img{shard * 1000 + n:08d}.png")
    added = add(root)
    assert added.classes == {}
    assert list(files_in(raw / "set"))[:2] == ["00000-img00000000.png", "00000-img00000001.png"]


def test_boxes_in_a_folder_of_their_own_are_said(root, images):
    for split in ("train", "val"):
        for name in images(f"images/{split}", 4):
            write(root / "labels" / split / f"{name[:-4]}.txt", "0 0.5 0.5 0.2 0.2\n")
    reading, said = read(root)
    assert set(labels(said).values()) == {None}
    assert "note: 8 files with boxes of objects (YOLO, LabelMe): they are no classes of the images" in reading.notes


def test_an_accent_written_in_two_ways_is_one_class(root, images, add):
    images("train/Hu\u0308te", 2)
    images("train/Schuhe", 2)
    images("test/H\u00fcte", 2)
    images("test/Schuhe", 2)
    assert add(root).classes == {"H\u00fcte": 4, "Schuhe": 4}


def test_masks_in_parallel_trees(root, images):
    """As of Cityscapes."""
    for split in ("train", "val"):
        for folder in ("leftImg8bit", "gtFine"):
            images(f"{folder}/{split}/aachen", 2)
            images(f"{folder}/{split}/bochum", 2)
    reading, said = read(root)
    assert set(labels(said).values()) == {"aachen", "bochum"}
    assert reading.skipped == {"masks": 8}


def test_many_images_beside_class_folders_are_asked_about(root, images):
    for folder in ("", "hat", "shoe"):
        images(folder, 4)
    with pytest.raises(ValueError, match=r"4 of 12 images, first .*, are beside the class folders .* --layout flat"):
        read(root)
    assert set(labels(read(root, layout="flat")[1]).values()) == {None}


def test_folders_of_a_messenger_are_no_classes(root, images, add):
    """WhatsApp keeps images, and more of them in Sent and Private."""
    for folder in ("WhatsApp Images", "WhatsApp Images/Sent", "WhatsApp Images/Private"):
        images(folder, 4)
    added = add(root)
    assert (added.added_images, added.classes, added.rejected) == (12, {}, ())


def test_links_are_said_with_what_to_do(root, images, tmp_path):
    images("dog", 2)
    (tmp_path / "cats").mkdir()
    (root / "cat").symlink_to(tmp_path / "cats")
    reading = read_source(str(root), tmp_path / "raw", tmp_path / "unpacked", Choices())
    assert len(list(reading.items)) == 2
    assert any(note.startswith("1 link skipped: links out of the source") for note in reading.notes)


def test_masks_in_a_folder_with_a_name_of_its_own(root, images):
    """As of CelebAMask-HQ: 0.jpg has 00000_hair.png, 00000_skin.png ... in folders of a thousand."""
    names = images("CelebA-HQ-img", 3)
    images("CelebAMask-HQ-mask-anno/0", 4)
    images("CelebAMask-HQ-mask-anno/1", 2)
    reading, said = read(root)
    assert labels(said) == dict.fromkeys(names)
    assert reading.skipped == {"masks": 6}


def test_pictures_with_several_labels_in_a_table_are_asked_about(root, images):
    """As of object detection: a row for each object."""
    names = images("", 5)
    write_csv(root / "_annotations.csv", filename=names * 2, label=["cat"] * 5 + ["dog"] * 5, xmin=[1] * 10)
    with pytest.raises(ValueError, match=r"5 of 5 images, first .*, have several labels in _annotations\.csv; .*flat"):
        read(root)
    assert set(labels(read(root, layout="flat")[1]).values()) == {None}


def test_notes_on_classes_of_folders_are_for_folders_only(root, images):
    names = [f"{folder}/{name}" for folder in ("Aves/1", "Aves/2", "Plantae/3") for name in images(folder, 3)]
    assert "--layout leaf-folders" in read(root)[0].notes[0]
    write_csv(root / "labels.csv", file=names, label=[name.split("/")[1] for name in names])
    reading, said = read(root)
    assert (set(labels(said).values()), reading.notes) == ({"1", "2", "3"}, [])


def test_classes_that_differ_in_capitals_are_said(root, images, add):
    for folder in ("train/Cat", "train/dog", "test/cat", "test/dog"):
        images(folder, 2)
    note = "note: classes that differ in capitals only: Cat, cat; if two are one class, remove the images (genai data "
    assert any(said.startswith(note) for said in add(root).notes)


@pytest.mark.parametrize(("header", "is_said"), [("label,pixel0,pixel1", True), ("label,width", False)])
def test_pixels_in_a_table_are_no_images(header, is_said, root):
    write(root / "train.csv", f"{header}\n1,2,3\n")
    with pytest.raises(ValueError, match=r"contains no image files \(\.csv files 1\)") as error:
        read(root)
    assert ("train.csv has pixels as numbers; save them as .npz" in str(error.value)) == is_said


def test_texts_called_captions(root, images, add):
    """As training scripts for Stable Diffusion have them, also out of an archive."""
    for name in images("", 4):
        write(root / f"{name[:-4]}.caption", f"a photograph of {name}")
    shutil.make_archive(str(root), "zip", root)
    added = add(f"{root}.zip")
    assert (added.captioned_images, added.understood.captions) == (4, "the texts beside the images")
    assert added.skipped == {}


def test_a_table_of_what_labels_mean_is_no_table_of_images(root, images):
    for name in images("train", 20):
        (root / "train" / name).rename(root / "train" / f"{int(name[3:6])}.png")
    write_csv(root / "train.csv", id=range(20), label=[n % 3 for n in range(20)])
    write_csv(root / "labels.csv", label=range(3), name=["hat", "shoe", "dress"])
    assert set(labels(read(root)[1]).values()) == {"0", "1", "2"}

"""Folders and annotation files that say different things, or two things at once."""

import json

import pytest

from genai_core.data.ingest.choices import AskError, Choices
from tests.data.ingest.trees import coco, labels, read, write, write_csv


class TestContradictions:
    @pytest.fixture
    def hats_and_shoes(self, images):
        return [f"{folder}/{name}" for folder in ("hat", "shoe") for name in images(folder, 5)]

    def test_labels_that_contradict_folders(self, root, hats_and_shoes):
        said = ["hat"] * 4 + ["shoe"] * 6
        write_csv(root / "labels.csv", file=hats_and_shoes, label=said)
        message = r"labels\.csv says shoe for hat/01-004\.png, and 1 of 10 labels .*--layout table or --layout class"
        with pytest.raises(ValueError, match=message):
            read(root)
        assert labels(read(root, layout="table")[1])["01-004.png"] == "shoe"
        assert labels(read(root, layout="class-folders")[1])["01-004.png"] == "hat"

    def test_labels_that_agree_or_only_have_other_names(self, root, hats_and_shoes):
        write_csv(root / "labels.csv", file=hats_and_shoes, label=["hat"] * 5 + ["shoe"] * 5)
        assert read(root)[0].understood.labels == "the folders"
        write_csv(root / "labels.csv", file=hats_and_shoes, label=["a hat"] * 5 + ["a shoe"] * 5)
        reading, said = read(root)
        assert labels(said)["01-004.png"] == "a hat"
        write_csv(root / "labels.csv", file=hats_and_shoes, label=[0] * 5 + [1] * 5)
        assert labels(read(root)[1])["01-004.png"] == "hat"
        assert reading.understood.labels == "the column label of labels.csv"

    def test_two_layouts_at_once(self, root, images):
        """Two folders of images, and a table whose name does not say that it has labels."""
        names = [f"{folder}/{name}" for folder in ("left", "right") for name in images(folder, 4)]
        write_csv(root / "list.csv", image=names, label=list("aabbabab"))
        with pytest.raises(ValueError, match=r"classes may be the folders \(left, right\) or the column label of"):
            read(root)
        assert labels(read(root, layout="table")[1])["02-001.png"] == "b"
        assert labels(read(root, layout="class-folders")[1])["02-001.png"] == "right"

    def test_two_kinds_of_annotations(self, root, images):
        names = images("", 4)
        write_csv(root / "labels.csv", file=names, label=list("abab"))
        write(root / "coco.json", json.dumps(coco(names, [{"image_id": n + 100, "category_id": 0} for n in range(4)])))
        with pytest.raises(ValueError, match=r"both coco\.json and labels\.csv hold .*--layout coco or --layout table"):
            read(root)
        assert set(labels(read(root, layout="coco")[1]).values()) == {"cat"}

    def test_a_folder_per_image_is_asked_about_unless_a_table_has_labels(self, root, images):
        names = [f"{n}/{images(str(n), 1)[0]}" for n in range(8)]
        with pytest.raises(ValueError, match=r"8 folders for 8 images are hardly classes; choose --layout flat"):
            read(root)
        write_csv(root / "labels.csv", file=names, label=list("abababab"))
        assert labels(read(root)[1])["03-000.png"] == "a"

    def test_a_split_that_folders_and_table_say_differently(self, root, images):
        names = [f"{top}/{name}" for top in ("train", "test") for name in images(top, 3)]
        write_csv(root / "labels.csv", file=names, label=list("ababab"), split=["train"] * 6)
        with pytest.raises(ValueError, match=r"test/02-000\.png is for training and for testing.*--no-split"):
            read(root)

    def test_half_of_the_files_are_something_else(self, root, images):
        images("", 4)
        for n in range(4):
            (root / f"{n}.mp3").write_bytes(b"x")
        reading, _ = read(root)
        assert "note: 4 of 8 files are no images, and were left out" in reading.notes
        assert reading.skipped == {".mp3 files": 4}

    def test_choices_that_contradict_each_other(self):
        with pytest.raises(ValueError, match="--label-column needs a table"):
            Choices("voc", ("x",))
        with pytest.raises(ValueError, match="no such layout; known are flat, class-folders"):
            Choices("hat")

    def test_a_chosen_table_that_is_not_there(self, root, images):
        images("", 3)
        with pytest.raises(ValueError, match=r"no table .* beside the images"):
            read(root, layout="table")


def test_a_table_gives_the_classes_that_the_test_folder_lacks(root, images):
    """As of Tiny ImageNet: train/n01/images/1.jpg, and val/images/1.jpg with val/val_annotations.txt."""
    for folder in ("n01", "n02"):
        images(f"train/{folder}/images", 3)
    names = images("val/images", 4)
    rows = (f"{name}\t{label}\t0\t0\t5\t5\n" for name, label in zip(names, ["n01", "n02"] * 2, strict=True))
    write(root / "val" / "val_annotations.txt", "".join(rows))
    others = images("test/images", 2)
    reading, said = read(root)
    assert [said[name][:2] for name in names] == [("n01", "test"), ("n02", "test")] * 2
    assert set(labels(said).values()) == {"n01", "n02"}
    assert not said.keys() & set(others)
    assert reading.skipped == {"images without a class, beside others with one": 2}


@pytest.mark.parametrize("table", ["labels.csv", "test_labels.csv"])
def test_a_table_that_gives_the_test_folder_other_classes_is_asked_about(table, root, images):
    for folder in ("cat", "dog"):
        images(f"train/{folder}", 4)
    names = images("test", 4)
    write_csv(root / table, file=[f"test/{name}" for name in names], label=[0, 1, 0, 1])
    message = r"labels\.csv says 0 for test/03-000\.png, which is no class of the folders \(cat, dog\).*class-folders"
    for layout in (None, "table"):
        with pytest.raises(AskError, match=message):
            read(root, layout=layout)
    assert set(labels(read(root, layout="class-folders")[1]).values()) == {"cat", "dog"}
    write_csv(root / table, file=[f"test/{name}" for name in names], label=["cat", "dog"] * 2)
    assert labels(read(root)[1])["03-001.png"] == "dog"

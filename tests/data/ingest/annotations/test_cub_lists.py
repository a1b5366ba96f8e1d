"""The lists of CUB-200: an id for each image, and what further lists say of it."""

import pytest

from tests.data.ingest.trees import captions, labels, read, splits, write, write_csv


@pytest.fixture
def lists(root):
    """Write the lists for images (paths below images/), with the given class numbers and split numbers."""

    def make(paths, numbers, training, classes=("1 001.Albatross", "2 002.Great auk")):
        columns = {"images": paths, "image_class_labels": numbers, "train_test_split": training}
        for name, values in columns.items():
            write(root / f"{name}.txt", "".join(f"{n} {value}\n" for n, value in enumerate(values, start=1)))
        write(root / "classes.txt", "\n".join(classes))

    return make


def test_class_and_split_of_images_in_one_folder(root, images, lists):
    names = images("images", 6)
    lists(names, [1, 2, 1, 2, 1, 2], [1, 1, 1, 1, 0, 0])
    reading, said = read(root)
    assert [*labels(said).values()] == ["001.Albatross", "002.Great auk"] * 3
    assert [*splits(said).values()] == ["train"] * 4 + ["test"] * 2
    assert (reading.understood.labels, reading.understood.split) == ("image_class_labels.txt", "train_test_split.txt")
    assert set(splits(read(root, split=False)[1]).values()) == {None}
    assert set(labels(read(root, layout="flat")[1]).values()) == {None}


def test_split_of_class_folders(root, images, lists):
    paths = [
        f"{folder}/{name}" for folder in ("001.Albatross", "002.Great auk") for name in images(f"images/{folder}", 3)
    ]
    lists(paths, [1, 1, 1, 2, 2, 2], [1, 1, 0, 1, 1, 0])
    reading, said = read(root)
    assert set(labels(said).values()) == {"001.Albatross", "002.Great auk"}
    assert list(splits(said).values()).count("test") == 2
    assert reading.understood.labels == "the folders"


def test_names_of_classes_whose_folders_are_numbers(root, images, lists):
    """As of NABirds."""
    paths = [f"{folder}/{name}" for folder in ("0295", "0296") for name in images(f"images/{folder}", 3)]
    lists(paths, [295] * 3 + [296] * 3, [1, 1, 0] * 2, classes=("295 American Crow", "296 Fish Crow"))
    reading, said = read(root)
    assert [*labels(said).values()] == ["American Crow"] * 3 + ["Fish Crow"] * 3
    assert reading.understood.labels == "image_class_labels.txt"
    (root / "classes.txt").unlink()
    assert set(labels(read(root)[1]).values()) == {"0295", "0296"}


class TestTablesBesideTheLists:
    @pytest.fixture
    def names(self, images, lists):
        names = images("images", 6)
        lists(names, [1, 2, 1, 2, 1, 2], [1, 1, 1, 1, 0, 0])
        return names

    @pytest.mark.parametrize("layout", [None, "table"])
    def test_captions(self, layout, root, names):
        write_csv(root / "captions.csv", file=names, caption=[f"bird {n}" for n in range(6)])
        reading, said = read(root, layout=layout)
        assert said[names[5]] == ("002.Great auk", "test", ("bird 5",))
        assert reading.understood.captions == "the column caption of captions.csv"
        assert reading.skipped == {}

    def test_other_labels_are_asked_about(self, root, names):
        write_csv(root / "labels.csv", file=names, label=list("ababab"))
        with pytest.raises(
            ValueError, match=r"both image_class_labels\.txt and labels\.csv hold labels; choose --label"
        ):
            read(root)
        assert set(labels(read(root, label_columns=("label",))[1]).values()) == {"a", "b"}

    def test_labels_of_a_table_and_the_split_of_the_lists(self, root, names):
        (root / "image_class_labels.txt").unlink()
        write_csv(root / "labels.csv", file=names, label=list("ababab"))
        _, said = read(root)
        assert (said[names[0]][:2], said[names[5]][:2]) == (("a", "train"), ("b", "test"))
        assert set(captions(said).values()) == {()}


def test_lists_of_other_images_are_none(root, images, lists):
    images("hat", 3)
    images("shoe", 3)
    lists(["a.jpg", "b.jpg"], [1, 2], [1, 0])
    assert set(labels(read(root)[1]).values()) == {"hat", "shoe"}

"""The lists of CUB-200: an id for each image, and what further lists say of it."""

import pytest

from tests.data.ingest.trees import labels, read, splits, write


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


def test_lists_of_other_images_are_none(root, images, lists):
    images("hat", 3)
    images("shoe", 3)
    lists(["a.jpg", "b.jpg"], [1, 2], [1, 0])
    assert set(labels(read(root)[1]).values()) == {"hat", "shoe"}

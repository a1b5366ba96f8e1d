import pytest

from genai_core.data.ingest.annotations.finder import Finder

IMAGES = ["set/train/hat/1.jpg", "set/train/hat/2.jpg", "set/train/shoe/1.jpg", "set/test/hat/3.png"]


@pytest.mark.parametrize(
    ("name", "folder", "image"),
    [
        ("set/train/hat/1.jpg", "", 0),
        ("hat/1.jpg", "set/train", 0),
        ("./hat/1.jpg", "set/train", 0),
        ("hat\\1.jpg", "set/train", 0),
        ("shoe/1", "", 2),  # without ending, and from a wrapper
        ("/photos/set/train/shoe/1.jpg", "", 2),
        ("2.jpg", "", 1),
        ("2.jpg#4", "", 1),
        ("3", "anywhere", 3),
        ("1.jpg", "", None),  # two images
        ("../set/train/hat/1.jpg", "", None),
        ("2.png", "", None),
        ("", "", None),
    ],
)
def test_names(name, folder, image):
    assert Finder(IMAGES).find(name, folder) == (None if image is None else IMAGES[image])


def test_the_split_of_the_table_decides_between_two():
    finder = Finder(["train/1.png", "test/1.png"])
    assert finder.find("1") is None
    assert finder.find("1", split="train") == "train/1.png"
    assert finder.find("1", split="test") == "test/1.png"


@pytest.mark.parametrize(
    ("images", "names", "found"),
    [
        (["img/b/0.png", "img/b/1.png"], ["img/a/0.png", "img/a/1.png"], [None, None]),
        (["train/1.png", "train/2.png"], ["test/1.png", "train/1.png", "test/2.png"], [None, 0, None]),
        (["train/1.png", "train/2.png"], ["test/1.png", "test/2.png"], [None, None]),
        (["0.png", "1.png"], ["/mnt/faces/0.png", "/mnt/faces/1.png"], [0, 1]),  # the folders of another machine
        (["images/train/0.png"], ["images/0.png"], [0]),  # divided later
        (["0.png", "1.png"], ["a/0.png", "b/0.png", "a/1.png#0", "a/1.png#1"], [0, None, 1, 1]),
        (["a/0.png", "b/1.png"], ["x/a/0.png", "a/0.png", "1.png"], [None, 0, 1]),  # the whole path comes first
    ],
)
def test_a_folder_that_is_named_counts(images, names, found):
    assert Finder(images).find_all(names) == [None if image is None else images[image] for image in found]


def test_a_table_in_a_folder_names_the_images_there():
    finder = Finder(["train/1.png", "train/more/3.png", "test/2.png"])
    assert finder.find_all(["1.png", "2.png", "3.png"], "train") == ["train/1.png", None, "train/more/3.png"]
    assert finder.find_all(["1.png", "2.png"], "annotations") == ["train/1.png", "test/2.png"]


def test_loosely_capitals_accents_and_endings_may_differ():
    images = ["a/DSC1.JPG", "a/Gro\u0308\u00dfe.png", "a/two.png", "a/two.jpg"]
    names = ["dsc1.jpg", "Gr\u00f6\u00dfe.jpg", "DSC1", "two.png", "gone.jpg"]
    assert Finder(images, loosely=True).find_all(names) == [images[0], images[1], None, None, None]
    captions = ["dsc1.jpg#0", "dsc1.jpg#1"]
    assert Finder(images, loosely=True).find_all(captions) == [images[0]] * 2
    assert Finder(images).find_all(names) == [None, None, images[0], images[2], None]

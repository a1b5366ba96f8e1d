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
        ("/home/me/set/train/shoe/1.jpg", "", 2),
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

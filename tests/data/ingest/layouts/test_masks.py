import pytest

from genai_core.data.ingest.choices import AskError
from genai_core.data.ingest.layouts.masks import find_masks


def pairs(images, masks, count=4):
    return {image.format(n) for image in [images] for n in range(count)}, {masks.format(n) for n in range(count)}


@pytest.mark.parametrize(
    ("image", "mask", "where"),
    [
        ("images/{}.jpg", "masks/{}.png", "masks/"),
        ("images/hat/{}.jpg", "labels/hat/{}.png", "labels/"),
        ("train/images/{}.jpg", "train/masks/{}_mask.gif", "train/masks/"),
        ("train/{}.jpg", "train_masks/{}_mask.gif", "train_masks/"),
        ("{}.jpg", "annotations/{}.png", "annotations/"),
        ("set/test/broken/{}.png", "set/ground_truth/broken/{}_mask.png", "set/ground_truth/"),
        ("images/pug_{}.jpg", "annotations/trimaps/pug_{}.png", "annotations/"),
        ("set/images/a{}.jpg", "set/masks/other{}.png", "set/masks/"),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "SegmentationClass/"),
        ("benign/benign ({}).png", "benign/benign ({})_mask.png", "files named like benign (0)_mask.png"),
        ("{}.jpg", "{}-mask-1.png", "files named like 0-mask-1.png"),
    ],
)
def test_masks_are_found(image, mask, where):
    images, masks = pairs(image, mask)
    found = find_masks(sorted(images | masks))
    assert (found.paths, found.where) == (masks, where)


def test_images_without_a_mask_stay():
    images = [f"images/{number}.jpg" for number in range(10)]
    assert find_masks([*images, "masks/3.png"]).paths == {"masks/3.png"}


@pytest.mark.parametrize(
    "paths",
    [
        ["with_mask/1.jpg", "with_mask/2.jpg", "without_mask/1.jpg", "without_mask/2.jpg"],
        ["masks/a.jpg", "masks/b.jpg", "hats/c.jpg", "hats/d.jpg"],  # things to wear
        ["masks/a.jpg", "masks/b.jpg"],
        ["hat_mask.jpg", "shoe.jpg"],
    ],
)
def test_images_of_masks_are_images(paths):
    assert find_masks(paths).paths == frozenset()


FACES = [f"{folder}/{number}.jpg" for folder in ("mask", "no_mask") for number in range(5)]


@pytest.mark.parametrize("wrapper", ["", "set/train/"])
def test_a_class_called_mask_is_asked_about_and_can_be_chosen(wrapper):
    paths = [wrapper + path for path in FACES]
    with pytest.raises(AskError, match=rf"^{wrapper}mask/ may be a class, .*--layout class-folders .*--layout flat"):
        find_masks(paths)
    assert find_masks(paths, "class-folders").paths == frozenset()
    assert find_masks(paths, "flat").paths == {f"{wrapper}mask/{number}.jpg" for number in range(5)}


def test_masks_below_chosen_classes_are_masks():
    paths = [f"{kind}/{folder}/{number}.png" for kind in "ab" for folder in ("images", "masks") for number in range(2)]
    assert find_masks(paths, "class-folders").where == "a/masks/, b/masks/"
    paths = ["hat/1.jpg", "hat/masks/1.png", "shoe/1.jpg", "shoe/masks/1.png"]
    assert find_masks(paths, "class-folders").where == "hat/masks/, shoe/masks/"

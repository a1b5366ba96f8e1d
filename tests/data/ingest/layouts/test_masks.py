import pytest

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

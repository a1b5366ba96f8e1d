import pytest

from genai_core.data.ingest.layouts.folders import folder_layout
from genai_core.data.ingest.layouts.pairs import paired_folders


def named(count, form="{}.png"):
    return [form.format(n) for n in range(count)]


@pytest.mark.parametrize(
    "files",
    [
        {"rgb": named(5), "depth": named(5)},
        {"DIV2K_train_HR": named(5, "{:04d}.png"), "DIV2K_train_LR_bicubic": named(5, "{:04d}x2.png")},  # as published
        {"color": named(5), "grayscale": named(5), "segmented": named(5, "{}_final_masked.jpg")},  # PlantVillage
        {"mine": named(9, "{}0451_03.jpg"), "yours": named(9, "{}0451_03.jpg")},  # no count: 451, 10451 ...
    ],
)
def test_folders_of_the_same_pictures(files):
    assert paired_folders(files) is not None


@pytest.mark.parametrize(
    "files",
    [
        {"hat": named(9), "shoe": named(9)},  # each class counts its own files
        {"accordion": named(9, "image_{:04d}.jpg"), "airplanes": named(9, "image_{:04d}.jpg")},  # Caltech-101
        {"hat": ["left.jpg", "right.jpg", "top.jpg", "back.jpg"] * 2, "shoe": ["left.jpg", "right.jpg", "top.jpg"] * 3},
        {"sharp": named(5, "a{}.png"), "blurred": named(5, "b{}.png")},  # other pictures: classes
        {"rgb": named(2), "depth": named(2)},
        {"Greek": named(9, "000{}_12.png"), "Latin": named(9, "000{}_12.png")},  # Omniglot
        {"hat": named(9)},
    ],
)
def test_classes_are_no_pairs(files):
    assert paired_folders(files) is None


def test_it_is_asked_and_the_layout_decides():
    paths = [f"{folder}/{name}" for folder in ("rgb", "depth") for name in named(5)]
    assert "the images in depth and rgb have the same names" in folder_layout(paths).doubt
    assert folder_layout(paths, layout="class-folders").doubt == ""

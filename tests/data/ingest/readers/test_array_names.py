import pytest

from genai_core.data.ingest.readers.array_names import paired, parts_of


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        *(("x_train", ("images", "train")), ("test-labels", ("labels", "test")), ("data", ("images", ""))),
        *(("data/images", ("images", "")), ("data/labels", ("labels", "")), ("labels/data", ("labels", ""))),
        *(("image_train", ("images", "train")), ("image_labels_train", ("labels", "train"))),
        *(("class_images", ("images", "")), ("Y_data", ("labels", "")), ("weights", (None, "weights"))),
    ],
)
def test_parts_of_a_name(name, parts):
    assert parts_of(name) == parts


@pytest.mark.parametrize(
    "names",
    [
        ("data/images", "data/labels"),
        ("images/data", "labels/data"),
        ("image_train", "image_labels_train"),
    ],
)
def test_names_with_words_of_both_kinds(names):
    [pair] = paired(names, names)
    assert (pair.images, pair.labels) == (0, 1)

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from genai_core.data.dataset.card import (
    augmented_card,
    captioned_rows,
    class_counts,
    class_names,
    example_rows,
    prepared_card,
    size_counts,
)
from genai_core.data.dataset.dataset import Dataset, load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize


def make(folder, classes=("cat", "do|g"), train=12):
    images = np.random.default_rng(0).integers(0, 256, (train + 4, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(train + 4) % len(classes) if classes else None
    writer = DatasetWriter(folder, image_size=ImageSize.square(8), channels=1, classes=classes, shard_images=100)
    writer.add("train", images[:train], None if labels is None else labels[:train])
    writer.add("test", images[train:], None if labels is None else labels[train:])
    writer.finish()
    return load_dataset(folder)


@pytest.fixture
def dataset(tmp_path):
    return make(tmp_path / "dataset")


def captioned(dataset, captions):
    """The dataset with captions of its first images."""
    column = pd.Series([*captions, *[None] * (len(dataset.manifest) - len(captions))])
    kind = pd.ArrowDtype(pa.list_(pa.large_string()))
    return Dataset(dataset.folder, dataset.info, dataset.manifest.assign(captions=column.astype(kind)))


def card(dataset, rejected=(), skipped=None, untrained=(), lost=()):
    table = pd.DataFrame(rejected, columns=["source", "reason", "detail"])
    return prepared_card(dataset, total_files=20, rejected=table, skipped=skipped or {}, untrained=untrained, lost=lost)


def test_prepared_card_counts_by_class_and_split(dataset):
    text = card(dataset)
    assert "12 training and 4 test images, 8 x 8 pixels, grey" in text
    assert "| cat | 6 | 2 |\n| do\\|g | 6 | 2 |\n" in text
    assert "Nothing." in text
    assert "](examples.png)" in text


def test_prepared_card_counts_captions(dataset):
    assert "caption" not in card(dataset)
    rows = captioned(dataset, [["a cat", "of grey"], ["a dog"]])
    text = card(rows, [("x.txt", "bad_caption", "not UTF-8")])
    assert "- 20 image files found, 0 rejected\n- 2 of 16 images have captions, 1.5 each on average\n" in text
    assert "| bad_caption | 1 |" in text
    assert "](captions.png)" in text
    assert sorted(map(tuple, captioned_rows(rows.rows("train"), 5)["captions"])) == [("a cat", "of grey"), ("a dog",)]
    assert len(captioned_rows(rows.rows("train"), 1)) == 1
    assert "](captions.png)" not in card(captioned(dataset, [None] * 12 + [["of a test image"]]))


def test_prepared_card_names_rejected_files(dataset):
    rejected = [(f"a/{number}.png", "corrupt", "cut") for number in range(5)] + [("b.png", "too_small", "1 x 1")]
    text = card(dataset, rejected, {".txt files": 2}, ["rare"])
    assert "| corrupt | 5 |\n| too_small | 1 |" in text
    assert "- `a/2.png`: corrupt: cut\n- `b.png`: too_small: 1 x 1\n" in text
    assert "a/3.png" not in text
    assert "Not read: .txt files 2." in text
    assert "too small to have a training image: rare." in text


def test_prepared_card_names_classes_that_are_lost_or_look_alike(tmp_path):
    # The last two are one accented letter, as one code point and as two.
    dataset = make(tmp_path, classes=("A", "a", "\u00e9", "e\u0301"))
    text = card(dataset, lost=("cow",))
    assert "none of their images is usable: cow." in text
    assert "only in case or Unicode form: A, a." in text
    assert "only in case or Unicode form: \u00e9, e\u0301." in text


def test_card_without_classes(tmp_path):
    dataset = make(tmp_path, classes=())
    assert "- no classes" in card(dataset)
    assert "| (none) | 12 | 4 |" in card(dataset)


def test_augmented_card_counts_new_images(dataset, tmp_path):
    after = make(tmp_path / "after", train=16)
    text = augmented_card(dataset, after, {"expand": 2.0, "seed": 0})
    assert "- 4 of the training images are augmented copies" in text
    assert "- expand: 2.0\n- seed: 0\n" in text
    assert "examples.png" in text
    assert "examples.png" not in augmented_card(dataset, dataset, {})


def test_examples_do_not_depend_on_the_order_of_the_rows(dataset):
    rows = example_rows(dataset.rows("train"), 3)
    assert [len(part) for part in rows] == [3, 3]
    assert class_names(dataset.info, rows) == ["cat", "do|g"]
    shuffled = example_rows(dataset.rows("train").sample(frac=1, random_state=0), 3)
    assert [part["id"].tolist() for part in rows] == [part["id"].tolist() for part in shuffled]


def test_classes_are_counted_by_split_including_absent_ones(dataset, tmp_path):
    assert class_counts(dataset) == [("cat", (6, 2)), ("do|g", (6, 2))]
    assert class_counts(make(tmp_path / "none", classes=())) == [("(none)", (12, 4))]


def test_sizes_are_listed_when_few_and_grouped_when_many():
    assert size_counts([(28, 28, 5), (40, 28, 1), (9, 60, 2)]) == [("9", (2,)), ("28", (6,))]
    many = [(side, 1000, 2) for side in range(20, 401)]
    rows = size_counts(many)
    assert len(rows) < 16
    assert rows[0] == ("20 to 29", (20,))
    assert sum(files for _, (files,) in rows) == 2 * len(many)

"""Folders and zips as the dataset_tool.py of StyleGAN and EDM writes them."""

import json
import zipfile

import pytest

from genai_core.data.ingest.packing.png import encode_png
from tests.data.ingest.conftest import nothing_was_added
from tests.packed import files_in

NAMES = ["00000/img00000000.png", "00000/img00000999.png", "00001/img00001000.png"]


@pytest.fixture
def write(tmp_path, pixels):
    """Write NAMES and a dataset.json, as a folder or a zip, below a folder of the zip or not."""

    def make(labels, kind="zip", above=""):
        content = {above + name: encode_png(image) for name, image in zip(NAMES, pixels(3, 3), strict=True)}
        if labels != "none":
            content[f"{above}dataset.json"] = labels if isinstance(labels, bytes) else json.dumps({"labels": labels})
        path = tmp_path / f"cifar10.{kind}" if kind == "zip" else tmp_path / "cifar10"
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in content.items():
                    archive.writestr(name, data)
        else:
            for name, data in content.items():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return make


@pytest.mark.parametrize("kind", ["zip", "folder"])
@pytest.mark.parametrize("above", ["", "cifar10-32x32/"])
@pytest.mark.parametrize(
    "values", [(3, 0, 3), ([0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]), ([0.0, 0, 0, 1.0], [1.0, 0, 0, 0], [0, 0, 0, 1])]
)
def test_labels_are_numbers_or_one_hot(values, above, kind, write, read):
    reading, items = read(write([list(row) for row in zip(NAMES, values, strict=True)], kind, above))
    assert {path: item.label for path, item in items.items()} == {
        "img00000000.png": "3",
        "img00000999.png": "0",
        "img00001000.png": "3",
    }
    assert reading.understood.labels.startswith("dataset.json, ")


@pytest.mark.parametrize("labels", [None, [[name, [0.5, 1.25]] for name in NAMES]])
def test_no_labels_or_vectors_are_no_classes(labels, write, add, raw, pixels, images_in):
    assert add(write(labels)).classes == {}
    found = images_in(raw / "set")
    assert list(found) == ["img00000000.png", "img00000999.png", "img00001000.png"]
    assert (found["img00001000.png"] == pixels(3, 3)[2]).all()


def test_labels_and_images_that_do_not_fit_are_rejected(write, add, raw):
    path = write([[NAMES[0], 1], [NAMES[1], 1], ["00009/img00009000.png", 1]])
    added = add(path, max_rejected_share=0.6)
    assert sorted((file.source, file.reason) for file in added.rejected)[1:] == [
        ("00009/img00009000.png", "missing_file")
    ]
    assert sorted(file.reason for file in added.rejected) == ["missing_file", "no_label"]
    assert list(files_in(raw / "set")) == ["1/img00000000.png", "1/img00000999.png"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"{", "dataset.json: damaged, or not JSON"),
        ([[NAMES[0], 1], [NAMES[1], [1, 0]], [NAMES[2], 0]], "expected labels that are all integers"),
        ([[NAMES[0], 1.5], [NAMES[1], 1.5], [NAMES[2], 0.5]], "expected labels that are all integers"),
        ({"a": 1}, r'expected "labels" as a list of \[file, label\]'),
        ([["1.png", 1]], "none of its 1 labels names an image; the first: 1.png"),
    ],
)
def test_unusable_labels_are_named(labels, message, write, add, raw):
    with pytest.raises(ValueError, match=message):
        add(write(labels))
    assert nothing_was_added(raw)

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.packing.png import encode_png
from tests.data.ingest.conftest import nothing_was_added
from tests.packed import files_in


def encoded(image, form):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


@pytest.fixture
def write(pixels):
    """Write a file as `datasets` does: struct<bytes, path>, numbers as labels, their names in the metadata."""

    def make(path, labels, *, names=("cat", "dog"), seed=0, images=None, **columns):
        path.parent.mkdir(parents=True, exist_ok=True)
        images = images or [encode_png(image) for image in pixels(len(labels), 3, seed=seed)]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = {
            "image": pa.array([{"bytes": image, "path": "../../evil.png"} for image in images], kind),
            "label": pa.array(labels, pa.int64()),
            **columns,
        }
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(pa.table(table).replace_schema_metadata(metadata), path, row_group_size=2)
        return path

    return make


def test_images_and_class_names(write, tmp_path, add, raw, pixels, images_in):
    added = add(write(tmp_path / "a.parquet", [1, 0, 1]), None)
    assert (added.names, added.classes) == (("a",), {"cat": 1, "dog": 2})
    found = images_in(raw / "a")
    assert list(found) == ["cat/a-000001.png", "dog/a-000000.png", "dog/a-000002.png"]
    assert (found["cat/a-000001.png"] == pixels(3, 3)[1]).all()


def test_bytes_are_kept_and_give_the_format(write, tmp_path, add, raw, pixels):
    images = [encoded(image, form) for image, form in zip(pixels(3, 3), ("JPEG", "WEBP", "BMP"), strict=True)]
    add(write(tmp_path / "a.parquet", [0, 0, 0], images=images))
    assert list(files_in(raw / "set").values()) == images
    assert [Path(name).suffix for name in files_in(raw / "set")] == [".jpg", ".webp", ".bmp"]


@pytest.mark.parametrize(
    "layout",
    [
        ("data/train-00000-of-00001", "data/test-00000-of-00001"),
        ("train/0", "validation/0"),
        ("mnist-train", "mnist-test"),
    ],
)
def test_splits_by_the_names_of_files_and_folders(layout, write, tmp_path, add, raw):
    for seed, name in enumerate(layout):
        write(tmp_path / "hub" / f"{name}.parquet", [0, 1][: 2 - seed], seed=seed)
    assert add(tmp_path / "hub", choices=Choices(split=True)).splits == {"train": 2, "test": 1}


def test_split_by_column(write, tmp_path, add):
    path = write(tmp_path / "a.parquet", [0, 1], split=pa.array(["train", "test"]))
    assert add(path, choices=Choices(split=True)).splits == {"train": 1, "test": 1}


def test_plain_binary_and_names_as_labels(tmp_path, add, pixels):
    table = pa.table({"img": [encode_png(image) for image in pixels(2)], "class": ["hat", "shoe"], "hash": ["a", "b"]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert add(tmp_path / "a.parquet").classes == {"hat": 1, "shoe": 1}


def test_too_deeply_nested_class_names_are_ignored(tmp_path, add, pixels):
    table = pa.table({"img": [encode_png(image) for image in pixels(2)], "class": ["hat", "shoe"]})
    metadata = {"huggingface": '{"info": {"features": ' + "[" * 100_000}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    assert add(tmp_path / "a.parquet").classes == {"hat": 1, "shoe": 1}


def test_faulty_rows_are_rejected(write, tmp_path, add, pixels):
    images = [encode_png(image) for image in pixels(40)]
    images[0], images[1] = None, b"<html>"
    labels = [0] * 40
    labels[2], labels[3], labels[4] = -1, 9, None
    added = add(write(tmp_path / "a.parquet", labels, images=images), max_rejected_share=0.2)
    assert [(file.source, file.reason) for file in added.rejected] == [
        ("a-000000", "missing_file"),
        ("a-000001", "no_image"),
        ("a-000002", "no_label"),
        ("a-000003", "bad_label"),
        ("a-000004", "no_label"),
    ]
    assert added.added_images == 35
    with pytest.raises(ValueError, match="5 of 40 images or labels were rejected"):
        add(tmp_path / "a.parquet", "again")


def test_no_image_column_or_several(tmp_path, add, raw):
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), tmp_path / "two.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "none.parquet")
    for name in ("two", "none"):
        with pytest.raises(
            ValueError, match=rf"{name}\.parquet: no column can be identified as the images; .*got a \("
        ):
            add(tmp_path / f"{name}.parquet")
    assert nothing_was_added(raw)


def test_damaged_file(write, tmp_path, add, raw):
    good = write(tmp_path / "good.parquet", [0] * 50).read_bytes()
    flipped = bytearray(good)
    flipped[20:60] = bytes(40)
    for name, content in {"cut": good[:-100], "html": b"<html>", "flipped": bytes(flipped)}.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.parquet"):
            add(tmp_path / f"{name}.parquet")
    assert nothing_was_added(raw)

"""Datasets as `datasets` 5.2 saves them to disk; pyarrow writes the same Arrow streams here."""

import json

import pyarrow as pa
import pytest

from genai_core.data.ingest.packing.png import encode_png
from tests.data.ingest.conftest import nothing_was_added

FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


@pytest.fixture
def save(pixels):
    """Dataset.save_to_disk: Arrow streams of three rows each, and state.json with their names."""

    def make(folder, labels, seed=0, **columns):
        folder.mkdir(parents=True)
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        images = [{"bytes": encode_png(image), "path": "1.png"} for image in pixels(len(labels), 3, seed=seed)]
        table = pa.table({"image": pa.array(images, kind), "label": pa.array(labels, pa.int64()), **columns})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})
        files = []
        for begin in range(0, len(labels), 3):
            files.append({"filename": f"data-{len(files):05d}-of-00002.arrow"})
            with pa.ipc.new_stream(folder / files[-1]["filename"], table.schema) as stream:
                stream.write_table(table.slice(begin, 3))
        (folder / "state.json").write_text(json.dumps({"_data_files": files, "_fingerprint": "1", "_split": None}))
        (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
        return folder

    return make


def test_one_dataset(save, tmp_path, read, pixels):
    folder = save(tmp_path / "pets", [1, 0, 1, 0, -1], text=[f"pet {number}" for number in range(5)])
    (folder / "cache-0123.arrow").write_bytes(b"left by map()")
    reading, items = read(folder)
    assert {path: (item.label, item.captions) for path, item in items.items()} == {
        "data-00000-of-00002-000000.png": ("dog", ("pet 0",)),
        "data-00000-of-00002-000001.png": ("cat", ("pet 1",)),
        "data-00000-of-00002-000002.png": ("dog", ("pet 2",)),
        "data-00001-of-00002-000000.png": ("cat", ("pet 3",)),
    }
    assert items["data-00000-of-00002-000001.png"].content == encode_png(pixels(5, 3)[1])
    assert [(file.source, file.reason) for file in reading.rejected] == [("data-00001-of-00002-000001", "no_label")]
    assert (reading.understood.labels, reading.understood.captions) == ("column label", "column text")


def test_splits_of_a_dataset_dict(save, tmp_path, read):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    save(tmp_path / "pets" / "train", [0, 1])
    save(tmp_path / "pets" / "validation", [1], seed=1)
    reading, items = read(tmp_path / "pets")
    assert {path: item.split for path, item in items.items()} == {
        "train-data-00000-of-00002-000000.png": "train",
        "train-data-00000-of-00002-000001.png": "train",
        "validation-data-00000-of-00002-000000.png": "test",
    }
    assert reading.understood.split == "names of the folders"


def test_a_missing_or_truncated_file_is_named(save, tmp_path, add, raw):
    folder = save(tmp_path / "pets", [0, 1, 0, 1])
    _, second = sorted(folder.glob("*.arrow"))
    second.write_bytes(second.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"data-00001-of-00002.arrow: damaged"):
        add(folder)
    second.unlink()
    with pytest.raises(ValueError, match=r"data-00001-of-00002\.arrow: state.json names it, and it is missing"):
        add(folder)
    assert nothing_was_added(raw)

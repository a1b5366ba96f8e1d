import json

import numpy as np
import pytest
from PIL import Image

from genai_core.sampling import batch
from genai_core.sampling.batch import BatchWriter, Provenance, read_images, read_manifest, write_batch

PROVENANCE = Provenance(
    model_sha256="a" * 64, family="tiny", dataset="d" * 64, sampling={"steps": 4, "scale": None}, seed=40
)
CLASSES = ("cat", "dog")


def write(folder, form="png", channels=1, count=5, labelled=True, size=(6, 6)):
    folder.mkdir(exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (count, channels, *size), dtype=np.uint8)
    labels = np.arange(count) % 2 if labelled else None
    write_batch(folder, images, labels, np.arange(40, 40 + count), CLASSES if labelled else (), form, PROVENANCE)
    return images


@pytest.mark.parametrize("form", ["png", "tar"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(6, 6), (6, 10)])
def test_images_come_back_as_they_were(tmp_path, form, channels, size, monkeypatch):
    monkeypatch.setattr(batch, "TAR_IMAGES", 2)
    images = write(tmp_path, form, channels, size=size)
    manifest = read_manifest(tmp_path)
    np.testing.assert_array_equal(read_images(tmp_path, manifest), images)
    np.testing.assert_array_equal(read_images(tmp_path, manifest[3:4]), images[3:4])


@pytest.mark.parametrize("form", ["png", "tar"])
def test_images_come_in_the_order_of_the_rows(tmp_path, form, monkeypatch):
    """Though each archive is opened once: the rows go back and forth between them."""
    monkeypatch.setattr(batch, "TAR_IMAGES", 2)
    images, order = write(tmp_path, form), [4, 0, 2, 1, 3, 0]
    np.testing.assert_array_equal(read_images(tmp_path, read_manifest(tmp_path).iloc[order]), images[order])


def test_no_row_has_no_image(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match=r"expected at least one row of manifest.parquet"):
        read_images(tmp_path, read_manifest(tmp_path)[:0])


def test_the_manifest_has_a_row_an_image(tmp_path):
    write(tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest["file"].tolist() == [f"images/{index:06d}.png" for index in range(5)]
    assert manifest["seed"].tolist() == [40, 41, 42, 43, 44]
    assert manifest["label"].tolist() == [0, 1, 0, 1, 0]
    assert manifest["class_name"].tolist() == ["cat", "dog", "cat", "dog", "cat"]
    assert set(manifest["model_sha256"]) == {"a" * 64}
    assert set(manifest["dataset"]) == {"d" * 64}
    with Image.open(tmp_path / "images/000000.png") as picture:
        assert picture.mode == "L"


def test_unlabelled_images_have_label_minus_one(tmp_path):
    write(tmp_path, labelled=False)
    manifest = read_manifest(tmp_path)
    assert set(manifest["label"]) == {-1}
    assert set(manifest["class_name"]) == {""}


def test_archives_hold_a_limited_number_each(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "TAR_IMAGES", 2)
    write(tmp_path, "tar")
    assert sorted(path.name for path in tmp_path.glob("*.tar")) == [f"images-0000{part}.tar" for part in range(3)]
    assert read_manifest(tmp_path)["archive"].tolist() == [f"images-0000{part}.tar" for part in (0, 0, 1, 1, 2)]


def test_provenance_says_where_the_images_come_from(tmp_path):
    write(tmp_path)
    values = json.loads((tmp_path / "provenance.json").read_text())
    assert values["model"] == {"family": "tiny", "sha256": "a" * 64}
    assert values["dataset"] == "d" * 64
    assert values["sampling"] == {"steps": 4, "scale": None}
    assert (values["images"], values["seed"], values["image_size"], values["channels"]) == (5, 40, 6, 1)
    write(tmp_path / "wide", size=(6, 10))
    assert json.loads((tmp_path / "wide/provenance.json").read_text())["image_size"] == [6, 10]


@pytest.mark.parametrize("form", ["png", "tar"])
def test_the_same_batch_has_the_same_bytes(tmp_path, form):
    contents = []
    for name in ("first", "second"):
        write(tmp_path / name, form)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([(str(path.relative_to(tmp_path / name)), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]


def test_a_changed_image_is_noticed(tmp_path):
    write(tmp_path)
    Image.new("L", (6, 6)).save(tmp_path / "images/000002.png")
    with pytest.raises(ValueError, match=r"the sha256 of images/000002.png differs from manifest.parquet"):
        read_images(tmp_path, read_manifest(tmp_path))


def test_a_missing_batch_says_which_stage_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `genai run generate`"):
        read_manifest(tmp_path)


def test_lengths_must_agree(tmp_path):
    images = np.zeros((3, 1, 6, 6), np.uint8)
    with pytest.raises(ValueError, match="3 images, 2 seeds"):
        write_batch(tmp_path, images, None, np.arange(2), (), "png", PROVENANCE)


@pytest.mark.parametrize("form", ["png", "tar"])
@pytest.mark.parametrize("piece", [1, 3, 5])
def test_the_bytes_do_not_depend_on_the_pieces(tmp_path, form, piece, monkeypatch):
    monkeypatch.setattr(batch, "TAR_IMAGES", 2)
    images = write(tmp_path / "whole", form)
    (tmp_path / "pieces").mkdir()
    with BatchWriter(tmp_path / "pieces", CLASSES, form, PROVENANCE) as writer:
        for begin in range(0, 5, piece):
            index = np.arange(begin, min(begin + piece, 5))
            writer.add(images[index], index % 2, 40 + index)
        writer.finish()
    assert bytes_below(tmp_path / "pieces") == bytes_below(tmp_path / "whole")


def bytes_below(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

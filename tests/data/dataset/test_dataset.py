import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from genai_core.data.dataset.dataset import MANIFEST_COLUMNS, NO_LABEL, SCHEMA_VERSION, Dataset, load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize

CLASSES = ("cat", "dog")


def noise(count: int, channels: int = 3, size: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def labels_for(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(CLASSES), count)


def write(folder: Path, train: np.ndarray, test: np.ndarray, shard_images: int = 10, classes=CLASSES) -> Dataset:
    writer = DatasetWriter(
        folder, image_size=ImageSize.square(8), channels=train.shape[1], classes=classes, shard_images=shard_images
    )
    writer.add("train", train, labels_for(len(train)) if classes else None)
    writer.add("test", test, labels_for(len(test), 1) if classes else None)
    writer.finish()
    return load_dataset(folder)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shard_images", [1, 7, 25, 100])
def test_round_trip(channels, shard_images, tmp_path):
    train, test = noise(25, channels), noise(6, channels, seed=1)
    dataset = write(tmp_path, train, test, shard_images)
    assert (dataset.images("train") == train).all()
    assert (dataset.images("test") == test).all()
    assert (dataset.labels("train") == labels_for(25)).all()
    assert dataset.info.classes == CLASSES
    assert dataset.info.counts == {"train": 25, "test": 6}
    assert list(dataset.manifest.columns) == list(MANIFEST_COLUMNS)
    shards = list((tmp_path / "shards").iterdir())
    assert len(shards) == -(-25 // shard_images) + -(-6 // shard_images)
    assert max(len(np.load(shard)) for shard in shards) <= shard_images


def test_shards_and_rows_carry_the_hash_of_their_content(tmp_path):
    train = noise(5)
    dataset = write(tmp_path, train, noise(2, seed=1))
    for shard in (tmp_path / "shards").iterdir():
        assert shard.stem == hashlib.sha256(shard.read_bytes()).hexdigest()
    for image, row in zip(train, dataset.rows("train").itertuples(), strict=True):
        assert row.sha256 == hashlib.sha256(image.tobytes()).hexdigest()
        assert row.sha256.startswith(row.id)


def test_some_rows_in_any_order(tmp_path):
    train = noise(25)
    dataset = write(tmp_path, train, noise(2, seed=1), shard_images=4)
    order = np.random.default_rng(0).permutation(25)[:9]
    assert (dataset.images_at(dataset.rows("train").iloc[order]) == train[order]).all()
    assert dataset.images_at(dataset.rows("train").head(0)).shape == (0, 3, 8, 8)


def test_facts_with_another_npy_header_are_read(tmp_path):
    dataset = write(tmp_path, noise(3), noise(2, seed=1))
    file = next((tmp_path / "facts").iterdir())
    facts = dataset.shard_facts(file.name)
    with file.open("wb") as written:
        np.lib.format.write_array(written, facts, version=(2, 0))
    assert (dataset.shard_facts(file.name) == facts).all()


def test_without_classes_there_are_no_labels(tmp_path):
    dataset = write(tmp_path, noise(3), noise(2, seed=1), classes=())
    assert dataset.labels("train") is None
    assert set(dataset.manifest["label"]) == {NO_LABEL}


@pytest.mark.parametrize("shard_images", [2, 100])
def test_moments_are_those_of_the_training_pixels(shard_images, tmp_path):
    train = noise(9)
    info = write(tmp_path, train, noise(2, seed=1), shard_images).info
    assert np.allclose(info.mean, (train / 255).mean(axis=(0, 2, 3)), atol=1e-12)
    assert np.allclose(info.std, (train / 255).std(axis=(0, 2, 3)), atol=1e-12)


def test_fingerprint_follows_pixels_labels_splits_and_order_but_not_shards_and_names(tmp_path):
    def fingerprint(name, train, test, shard_images=10, classes=CLASSES, sources=None):
        writer = DatasetWriter(
            tmp_path / name, image_size=ImageSize.square(8), channels=3, classes=classes, shard_images=shard_images
        )
        for split, images in (("train", train), ("test", test)):
            labels = labels_for(len(images)) if classes else None
            writer.add(split, images, labels, sources=sources and [sources] * len(images))
        return writer.finish().fingerprint

    train, test = noise(9), noise(4, seed=1)
    same = fingerprint("a", train, test)
    assert fingerprint("b", train, test, shard_images=2, sources="elsewhere") == same
    changed = train.copy()
    changed[3, 0, 0, 0] ^= 1
    others = [
        fingerprint("c", changed, test),
        fingerprint("d", train[::-1], test),
        fingerprint("e", train, test, classes=()),
        fingerprint("f", train, test, classes=("cat", "cow")),
        fingerprint("g", np.concatenate([train, test[:1]]), test[1:]),
    ]
    assert len({same, *others}) == 6


def of_size(folder: Path, size: ImageSize) -> Dataset:
    """Four images of rising levels."""
    writer = DatasetWriter(folder, image_size=size, channels=1, classes=CLASSES, shard_images=10)
    images = np.arange(4 * size.pixels, dtype=np.uint8).reshape(4, 1, *size)
    writer.add("train", images[:3], np.array([0, 1, 0]))
    writer.add("test", images[3:], np.array([1]))
    writer.finish()
    return load_dataset(folder)


def test_the_fingerprint_of_square_images_is_that_of_earlier_versions(tmp_path):
    dataset = of_size(tmp_path, ImageSize.square(8))
    assert dataset.info.fingerprint == "4b4a0fcb7a2c2a61b304e7bd3c048291a0b6d197feb333f6f48852abc75d8c2a"
    assert json.loads((tmp_path / "dataset.json").read_text())["image_size"] == 8


def test_rectangles_are_stored_with_height_and_width(tmp_path):
    dataset = of_size(tmp_path / "wide", ImageSize(8, 12))
    assert json.loads((tmp_path / "wide/dataset.json").read_text())["image_size"] == [8, 12]
    assert dataset.info.image_size == (8, 12)
    images = dataset.images("train")
    assert images.shape == (3, 1, 8, 12)
    assert dataset.info.mean[0] == pytest.approx(images.mean() / 255)
    assert dataset.info.std[0] == pytest.approx(images.std() / 255)
    high = of_size(tmp_path / "high", ImageSize(12, 8))
    assert high.info.fingerprint != dataset.info.fingerprint  # though the bytes of the pixels are the same
    writer = DatasetWriter(tmp_path / "x", image_size=ImageSize(8, 12), channels=1, classes=(), shard_images=10)
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, 1, 8, 12\), got uint8 \(3, 1, 12, 8\)"):
        writer.add("train", high.images("train"))


def test_a_damaged_size_is_refused(tmp_path):
    of_size(tmp_path, ImageSize(8, 12))
    path = tmp_path / "dataset.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "image_size": [8, 12, 1]}))
    with pytest.raises(ValueError, match=r"dataset\.json is damaged"):
        load_dataset(tmp_path)


def test_equal_datasets_have_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, noise(9), noise(2, seed=1))
    for file in (tmp_path / "a").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


def test_shards_and_moments_of_a_kept_dataset_are_unchanged(tmp_path):
    first = write(tmp_path / "a", noise(9), noise(4, seed=1), shard_images=4)
    writer = DatasetWriter(tmp_path / "b", image_size=ImageSize.square(8), channels=3, classes=CLASSES, shard_images=4)
    writer.keep(first, first.manifest)
    assert writer.finish() == first.info
    writer = DatasetWriter(tmp_path / "c", image_size=ImageSize.square(8), channels=3, classes=CLASSES, shard_images=4)
    writer.keep(first, first.manifest)
    writer.add("train", noise(2, seed=5), np.array([0, 1]), ids=["x", "y"], flags=["augmented:z", ""])
    writer.finish()
    both = load_dataset(tmp_path / "c")
    assert (both.images("test") == first.images("test")).all()
    assert (both.images("train") == np.concatenate([first.images("train"), noise(2, seed=5)])).all()
    assert np.allclose(both.info.mean, (both.images("train") / 255).mean(axis=(0, 2, 3)))
    kept = {shard.name for shard in (tmp_path / "a" / "shards").iterdir()}
    assert kept < {shard.name for shard in (tmp_path / "c" / "shards").iterdir()}


class TestWriterRefuses:
    @pytest.fixture
    def writer(self, tmp_path):
        return DatasetWriter(tmp_path, image_size=ImageSize.square(8), channels=3, classes=CLASSES, shard_images=4)

    @pytest.mark.parametrize("images", [noise(2, channels=1), noise(2, size=9), noise(2).astype(np.float32)])
    def test_another_shape_or_type(self, images, writer):
        with pytest.raises(ValueError, match=r"images must be uint8 \(N, 3, 8, 8\), got"):
            writer.add("train", images, np.array([0, 0]))

    @pytest.mark.parametrize("labels", [[0, 2], [-1, 0], [0]])
    def test_labels_that_do_not_fit(self, labels, writer):
        with pytest.raises(ValueError, match="labels must be 2 numbers from 0 to 1"):
            writer.add("train", noise(2), np.array(labels))

    def test_missing_labels(self, writer):
        with pytest.raises(ValueError, match="exactly when the dataset has classes"):
            writer.add("train", noise(2))

    def test_an_empty_split(self, writer):
        with pytest.raises(ValueError, match="got none"):
            writer.finish()
        writer.add("train", noise(2), np.array([0, 1]))
        with pytest.raises(ValueError, match="in train and in test"):
            writer.finish()


class TestLoadSaysWhatIsWrong:
    @pytest.fixture
    def folder(self, tmp_path):
        write(tmp_path, noise(3), noise(2, seed=1))
        return tmp_path

    def change(self, folder, **values):
        file = folder / "dataset.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    def test_no_dataset(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"is not a dataset: dataset\.json is missing; run"):
            load_dataset(tmp_path / "nothing")

    @pytest.mark.parametrize("file", ["dataset.json", "manifest.parquet"])
    def test_damaged_file(self, file, folder):
        (folder / file).write_bytes(b"{damaged")
        with pytest.raises(ValueError, match="is damaged"):
            load_dataset(folder)

    def test_missing_shard(self, folder):
        next((folder / "shards").iterdir()).unlink()
        with pytest.raises(FileNotFoundError, match=r"1 shards are missing.*dvc checkout"):
            load_dataset(folder)

    @pytest.mark.parametrize("left", [0, 100, 192, -1])
    def test_facts_that_were_cut_off(self, left, folder):
        file = next((folder / "facts").iterdir())
        file.write_bytes(file.read_bytes()[:left])
        with pytest.raises(ValueError, match=rf"is damaged: facts/{file.name} cannot be read"):
            load_dataset(folder)

    def test_facts_of_another_form(self, folder):
        file = next((folder / "facts").iterdir())
        np.save(file, np.zeros(5))
        with pytest.raises(ValueError, match=rf"is damaged: facts/{file.name} has another dtype"):
            load_dataset(folder)

    def test_another_version(self, folder):
        self.change(folder, schema_version=SCHEMA_VERSION + 1)
        with pytest.raises(ValueError, match=f"has schema version {SCHEMA_VERSION + 1}, this code reads"):
            load_dataset(folder)

    def test_unknown_key(self, folder):
        self.change(folder, surprise=1)
        with pytest.raises(ValueError, match="surprise"):
            load_dataset(folder)

    def test_manifest_without_a_column(self, folder):
        load_dataset(folder).manifest.drop(columns="label").to_parquet(folder / "manifest.parquet")
        with pytest.raises(ValueError, match="lacks the columns label"):
            load_dataset(folder)

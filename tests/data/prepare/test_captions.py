"""Captions in the manifest: which images have which, and that nothing else depends on them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_core.config import load_config
from genai_core.data.augment.augment import augment
from genai_core.data.dataset.compare import compare_datasets
from genai_core.data.dataset.dataset import CAPTIONS, MANIFEST_COLUMNS, captions_of, load_dataset
from genai_core.data.dataset.lookup import look_up
from genai_core.data.prepare import read_files
from genai_core.data.prepare.prepare import prepare
from genai_core.image_size import ImageSize

ROOT = Path(__file__).parents[3]


class Raw:
    """A data/raw of loose files, prepared each time from the previous version."""

    def __init__(self, folder):
        self.folder, self.raw, self.count = folder, folder / "raw", 0
        values = {"image_size": ImageSize.square(12), "shard_images": 16, "test_share": 0.3}
        self.config = load_config(ROOT / "params.yaml").data.model_copy(update=values)

    def image(self, name, seed, captions=None):
        path = self.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)).save(path)
        if captions is not None:
            path.with_suffix(".txt").write_text(captions)

    def prepare(self):
        before = self.folder / str(self.count) if self.count else None
        self.count += 1
        out = self.folder / str(self.count)
        out.mkdir()
        result = prepare(self.raw, out, self.config, workers=1, previous=before, cache_folder=self.folder / "cache")
        return load_dataset(out), result


@pytest.fixture
def raw(tmp_path):
    made = Raw(tmp_path)
    for number in range(20):
        made.image(f"n/{'cat' if number % 2 else 'dog'}/{number:02d}.png", number)
    return made


def by_source(dataset):
    return dict(zip(dataset.manifest["source"], captions_of(dataset.manifest), strict=True))


def test_a_dataset_without_captions_has_no_column_for_them(raw):
    dataset, _ = raw.prepare()
    assert list(dataset.manifest) == list(MANIFEST_COLUMNS)
    assert set(captions_of(dataset.manifest)) == {()}


def test_captions_are_in_the_manifest_and_not_in_the_fingerprint(raw):
    plain, _ = raw.prepare()
    (raw.raw / "n/cat/01.txt").write_text("a cat\na grey cat\n")
    (raw.raw / "n/dog/02.txt").write_text("a dog")
    captioned, _ = raw.prepare()
    assert by_source(captioned) == {
        **dict.fromkeys(plain.manifest["source"], ()),
        "n/cat/01.png": ("a cat", "a grey cat"),
        "n/dog/02.png": ("a dog",),
    }
    files = {side: (side.folder / "dataset.json").read_bytes() for side in (plain, captioned)}
    assert files[plain] == files[captioned]
    assert {path.name for path in (plain.folder / "shards").iterdir()} == {
        path.name for path in (captioned.folder / "shards").iterdir()
    }
    # Without the texts again, the manifest has the very same bytes.
    for path in raw.raw.rglob("*.txt"):
        path.unlink()
    again, _ = raw.prepare()
    manifests = [(side.folder / "manifest.parquet").read_bytes() for side in (plain, captioned, again)]
    assert manifests[0] == manifests[2] != manifests[1]


def test_other_captions_decode_nothing(raw, monkeypatch):
    raw.prepare()
    (raw.raw / "n/cat/01.txt").write_text("a cat")
    decoded = []
    decode = read_files.Decoding.decode
    monkeypatch.setattr(
        read_files.Decoding, "decode", lambda self, rows, **kept: decoded.extend(rows) or decode(self, rows, **kept)
    )
    dataset, _ = raw.prepare()
    assert by_source(dataset)["n/cat/01.png"] == ("a cat",)
    assert decoded == []


def test_an_image_keeps_the_captions_of_its_copies(raw):
    raw.image("n/cat/01.png", 1, "a cat\nshared")
    raw.image("n/cat/copy-1.png", 1, "shared\na copied cat")
    raw.image("n/cat/copy-2.png", 1)
    raw.image("n/cat/copy-3.png", 1, "third")
    raw.image("n/dog/copy.png", 2, "only the copy has one")
    dataset, result = raw.prepare()
    found = by_source(dataset)
    assert found["n/cat/01.png"] == ("a cat", "shared", "a copied cat", "third")
    assert found["n/dog/02.png"] == ("only the copy has one",)
    assert sum(map(len, found.values())) == 5
    assert [file.reason for file in result.rejected] == ["duplicate"] * 4


def test_an_unusable_text_is_rejected_and_its_image_is_not(raw):
    (raw.raw / "n/cat/01.txt").write_bytes(b"\xff")
    (raw.raw / "n/cat/01.png.txt").write_text("of no image")
    raw.config = raw.config.model_copy(update={"max_rejected_share": 0.1})
    dataset, result = raw.prepare()
    assert CAPTIONS not in dataset.manifest
    assert len(dataset.manifest) == result.total_files == 20
    assert [tuple(file) for file in result.rejected] == [("n/cat/01.txt", "bad_caption", "not UTF-8")]
    assert result.skipped == {"texts without an image": 1}


def test_comparison_lookup_and_augmentation(raw, augment_config):
    before, _ = raw.prepare()
    (raw.raw / "n/cat/01.txt").write_text("a cat\nof grey")
    after, _ = raw.prepare()
    change = compare_datasets(before, after)
    assert (change.recaptioned, change.added, change.relabelled, change.renamed) == (1, 0, 0, 0)
    (example,) = change.examples["recaptioned"]
    assert (example.source, example.before, example.after) == ("n/cat/01.png", "", "a cat\nof grey")
    assert compare_datasets(after, after).recaptioned == 0
    (sighting,) = look_up(after.folder, "n/cat/01.png", None)
    assert sighting.captions == ("a cat", "of grey")
    (sighting,) = look_up(after.folder, "n/cat/03.png", None)
    assert sighting.captions == ()
    out = raw.folder / "augmented"
    out.mkdir()
    augment(after, out, augment_config(expand=1.5))
    assert CAPTIONS not in load_dataset(out).manifest
    shutil.rmtree(out)

"""A growing and shrinking dataset: its contents depend only on the files, the writes only on the changes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from genai_core.config import load_config
from genai_core.data.cache import file_records, intact_shards
from genai_core.data.dataset.dataset import SPLITS, load_dataset
from genai_core.data.decoding import processes
from genai_core.data.decoding import versions as decoders
from genai_core.data.prepare import decode_new
from genai_core.data.prepare.prepare import prepare
from genai_core.data.raw.source_json import SourceNote
from genai_core.image_size import ImageSize

ROOT = Path(__file__).parents[3]


class Versions:
    """Prepare data/raw of a folder repeatedly, each time from the previous version."""

    def __init__(self, folder: Path, **changes):
        self.folder = folder
        values = {"image_size": ImageSize.square(12), "shard_images": 16, **changes}
        self.config = load_config(ROOT / "params.yaml").data.model_copy(update=values)
        self.count = 0
        (folder / "raw").mkdir(parents=True)

    def save(self, name: str, seed: int) -> Path:
        path = self.folder / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)).save(path)
        return path

    def next(self, *, cached: bool = True, previous: bool = True):
        before = self.folder / str(self.count) if previous and self.count else None
        self.count += 1
        out = self.folder / str(self.count)
        out.mkdir()
        where = self.folder / "cache" if cached else None
        prepare(self.folder / "raw", out, self.config, workers=1, previous=before, cache_folder=where)
        return load_dataset(out)


@pytest.fixture
def versions(tmp_path):
    made = Versions(tmp_path)
    for number in range(100):
        made.save(f"set/{'cat' if number % 2 else 'dog'}/{number:03d}.png", number)
    return made


def shards(dataset):
    return {path.name for path in (dataset.folder / "shards").iterdir()}


def says(dataset):
    """The visible contents of a dataset."""
    columns = ["id", "sha256", "label", "split", "source", "flags"]
    table = dataset.manifest[columns].to_csv()
    images = [dataset.images(split).tobytes() for split in ("train", "test")]
    return dataset.info, table, images, (dataset.folder / "rejected.csv").read_text()


def test_unchanged_data_gives_the_same_bytes(versions):
    first, second = versions.next(), versions.next()
    names = {path.relative_to(first.folder) for path in first.folder.rglob("*.*")}
    assert {path.relative_to(second.folder) for path in second.folder.rglob("*.*")} == names
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_new_images_keep_existing_shards(versions):
    first = versions.next()
    for number in range(4):
        versions.save(f"set/cat/a{number}.png", 1000 + number)
    second = versions.next()
    assert says(second) == says(versions.next(cached=False, previous=False))
    kept = shards(first) & shards(second)
    # The smallest shard of each split may be merged with new images.
    assert len(shards(first) - kept) <= 2
    assert len(shards(second)) <= len(shards(first)) + 2


def test_shards_are_kept_until_too_many_of_their_images_are_removed(versions):
    first = versions.next()
    for source in first.manifest["source"].iloc[::10]:
        (versions.folder / "raw" / source).unlink()
    second = versions.next()
    assert shards(second) == shards(first)
    assert sum(second.info.counts.values()) == 90
    assert says(second) == says(versions.next(cached=False, previous=False))


def test_no_removed_image_stays_on_request(tmp_path):
    versions = Versions(tmp_path, max_removed_share=0.0)
    for number in range(100):
        versions.save(f"set/{number:03d}.png", number)
    first = versions.next()
    (versions.folder / "raw" / first.manifest["source"].iloc[0]).unlink()
    second = versions.next()
    assert len(shards(first) - shards(second)) == 1
    stored = sum(len(np.load(path)) for path in (second.folder / "shards").iterdir())
    assert stored == len(second.manifest) == 99


def test_renamed_files_change_only_the_manifest_and_are_not_decoded(versions, monkeypatch):
    first = versions.next()
    for path in sorted((versions.folder / "raw/set/cat").iterdir())[::2]:
        path.rename(path.with_name(f"z{path.name}"))
    monkeypatch.setattr(decode_new, "decode_files", lambda paths, *_, **__: iter(() if not paths else 1 / 0))
    second = versions.next()
    assert second.info == first.info
    assert shards(second) == shards(first)
    assert set(second.manifest["source"]) != set(first.manifest["source"])


def test_only_new_and_changed_files_are_decoded(versions, monkeypatch):
    versions.next()
    decoded, decode = [], decode_new.decode_files
    monkeypatch.setattr(
        decode_new,
        "decode_files",
        lambda paths, *a, **k: (decoded.extend(Path(p).name for p in paths), decode(paths, *a, **k))[1],
    )
    versions.save("set/cat/new.png", 500)
    versions.save("set/cat/001.png", 501)  # other pixels under an old name
    (versions.folder / "raw/set/dog/000.png").touch()  # read, not decoded
    shutil.copy(versions.folder / "raw/set/dog/002.png", versions.folder / "raw/set/dog/copy.png")
    second = versions.next()
    assert sorted(decoded) == ["001.png", "new.png"]
    assert says(second) == says(versions.next(cached=False, previous=False))


def test_a_change_with_the_same_size_and_times_is_detected(versions):
    path = versions.save("set/cat/one.ppm", 700)
    first = versions.next()
    other = versions.save("set/cat/two.ppm", 701)
    path.write_bytes(other.read_bytes())  # at once: within the resolution of a file system's clock
    other.unlink()
    second = versions.next()
    old, new = (data.manifest.set_index("source")["sha256"]["set/cat/one.ppm"] for data in (first, second))
    assert old != new


def test_damaged_cache_and_damaged_shards_change_nothing(versions):
    expected = says(versions.next())
    for damaged in (b"damaged", b"PK" + bytes(100)):
        for path in (versions.folder / "cache").iterdir():
            path.write_bytes(damaged)
        assert says(versions.next()) == expected
    shard = next((versions.folder / str(versions.count) / "shards").iterdir())
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.unlink()
    shard.write_bytes(content)
    assert says(versions.next()) == expected


def test_a_shard_damaged_without_a_new_time_is_detected_when_read(versions, monkeypatch):
    monkeypatch.setattr(intact_shards, "RACY_NS", 0)
    versions.next()
    second = versions.next()  # every shard is identified by its time now
    name, rows = max(second.manifest.groupby("shard"), key=lambda group: len(group[1]))
    path = second.folder / "shards" / name
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([np.load(path).flat[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for source in rows.sort_values("row")["source"].iloc[:12]:  # of a shard of 16: the other images move to a new one
        (versions.folder / "raw" / source).unlink()
    third = versions.next()
    assert name not in shards(third)
    assert says(third) == says(versions.next(cached=False, previous=False))
    assert not (third.folder / ".spool").exists()


def test_other_versions_of_the_decoders_decode_everything_again(versions, monkeypatch):
    """With a library that decodes to other pixels, no old pixels remain."""
    first = versions.next()
    monkeypatch.setattr(processes, "WORKER_MODULE", "tests.data.inverting_worker")
    versions.save("set/cat/new.png", 500)
    others = {"pillow": "99.0", "webp": "1.0"}
    for module in (file_records, decoders):
        monkeypatch.setattr(module, "decoder_versions", lambda: others)
    second = versions.next()
    assert set(second.manifest["sha256"]).isdisjoint(first.manifest["sha256"])
    assert says(second) == says(versions.next(cached=False, previous=False))
    assert json.loads((second.folder / "decoders.json").read_text()) == others
    monkeypatch.undo()
    third = versions.next()  # and back
    assert set(first.manifest["sha256"]) < set(third.manifest["sha256"])
    assert "pillow 99.0, here 1" in "; ".join(decoders.other_decoders(second.folder))
    assert decoders.other_decoders(third.folder) == []


def test_other_versions_with_the_same_pixels_change_only_the_record(versions, monkeypatch):
    first = versions.next()
    for module in (file_records, decoders):
        monkeypatch.setattr(module, "decoder_versions", lambda: {"pillow": "99.0"})
    second = versions.next()
    assert shards(second) == shards(first)
    changed = [
        path.name
        for path in second.folder.iterdir()
        if path.is_file() and path.read_bytes() != (first.folder / path.name).read_bytes()
    ]
    assert changed == ["decoders.json"]


def test_other_parameters_reuse_nothing(versions):
    versions.next()
    versions.config = versions.config.model_copy(update={"image_size": ImageSize.square(8)})
    assert says(versions.next()) == says(versions.next(cached=False, previous=False))


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "rename", "relabel"]), st.integers(0, 11)), min_size=1, max_size=6
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(ACTIONS, min_size=1, max_size=3))
def test_a_dataset_depends_only_on_its_files_for_any_history(rounds, tmp_path_factory):
    versions = Versions(tmp_path_factory.mktemp("history"), shard_images=4, max_rejected_share=1.0)
    for number in range(12):
        versions.save(f"set/{'cat' if number % 2 else 'dog'}/{number:02d}.png", number)
    for side in SPLITS:  # so that no history leaves a split empty
        note = versions.save(f"{side}/cat/x.png", 900 + len(side)).parents[1] / "source.json"
        note.write_text(SourceNote(side).to_json())
    versions.next()
    for actions in rounds:
        for action, number in actions:
            found = sorted((versions.folder / "raw").rglob(f"*{number:02d}.png"))
            if action == "add":
                versions.save(f"set/cat/1{number:02d}.png", 100 + number)
            elif found and action == "remove" and len(list((versions.folder / "raw").rglob("*.png"))) > 6:
                found[0].unlink()
            elif found and action == "rename":
                found[0].rename(found[0].with_name(f"r{found[0].name}"))
            elif found and action == "relabel":
                other = "dog" if found[0].parent.name == "cat" else "cat"
                found[0].rename(found[0].parents[1] / other / found[0].name)
        grown = versions.next()
        assert says(grown) == says(Versions.next(_fresh(versions), cached=False, previous=False))


def _fresh(versions):
    fresh = object.__new__(Versions)
    fresh.folder, fresh.config, fresh.count = versions.folder, versions.config, 1000 + versions.count
    return fresh

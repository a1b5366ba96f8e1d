import csv
import gzip
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.decoding import pool, processes
from genai_core.data.prepare.prepare import prepare
from genai_core.data.raw.source_json import SourceNote


@pytest.fixture
def run(tmp_path, data_config):
    """Prepare data/raw of the test's folder; return (Prepared, Dataset)."""

    def run_prepare(name="prepared", workers=1, raw=tmp_path / "raw", **changes):
        folder = tmp_path / name
        folder.mkdir()
        prepared = prepare(raw, folder, data_config(**changes), workers=workers)
        return prepared, load_dataset(folder)

    return run_prepare


@pytest.fixture
def raw(tmp_path, save_images):
    """Two classes of forty images of noise."""
    for number, name in enumerate(("cat", "dog")):
        save_images(tmp_path / "raw" / "pets" / name, 40, seed=number)
    return tmp_path / "raw"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def splits_by_source(dataset) -> dict[str, str]:
    return dict(zip(dataset.manifest["source"], dataset.manifest["split"], strict=True))


def test_images_keep_their_pixels_labels_and_names(raw, run):
    _, dataset = run(image_size=12)
    assert dataset.info.classes == ("cat", "dog")
    assert sum(dataset.info.counts.values()) == 80
    for split in ("train", "test"):
        labels = dataset.labels(split)
        for image, label, source in zip(dataset.images(split), labels, dataset.rows(split)["source"], strict=True):
            assert source.split("/")[1] == dataset.info.classes[label]
            assert (image[0] == np.asarray(Image.open(raw / source))).all()


def test_the_bytes_do_not_depend_on_workers_timing_and_file_order(raw, run, tmp_path, monkeypatch):
    run("a", workers=1)
    # The same files, created in the opposite order, so that the file system lists them differently.
    copy = tmp_path / "copy"
    for path in sorted((path for path in raw.rglob("*.png")), reverse=True):
        target = copy / path.relative_to(raw)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    monkeypatch.setattr(pool, "BATCH_FILES", 7)
    run("b", workers=3, raw=copy)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_only_the_dataset_is_left(raw, run, tmp_path):
    run()
    names = {path.name for path in (tmp_path / "prepared").iterdir()}
    assert names == {"dataset.json", "manifest.parquet", "rejected.csv", "decoders.json", "shards", "facts"}


def test_shards_are_bounded(raw, run):
    _, dataset = run(shard_images=10)
    assert dataset.manifest["shard"].value_counts().max() == 10


def test_progress_is_reported_from_0_to_the_end(raw, tmp_path, data_config):
    seen = []
    (tmp_path / "out").mkdir()
    prepare(raw, tmp_path / "out", data_config(), workers=2, on_decoded=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 80)
    assert seen[-1] == (80, 80)
    assert seen == sorted(seen)


def test_flat_images_are_unlabelled(tmp_path, run, save_images):
    save_images(tmp_path / "raw" / "faces", 10)
    _, dataset = run()
    assert dataset.info.classes == ()
    assert dataset.labels("train") is None


def test_some_labelled_and_some_not_is_an_error(raw, run, save_images):
    save_images(raw / "faces", 3, seed=7)
    with pytest.raises(
        ValueError, match=r"80 images are in class folders .* 3 are not, first faces/07-000\.png; put all"
    ):
        run()


class TestRejected:
    def test_bad_files_are_listed_with_their_reasons_and_the_others_prepared(self, raw, run, tmp_path):
        (raw / "pets/cat/empty.png").write_bytes(b"")
        (raw / "pets/cat/page.jpg").write_bytes(b"<html></html>")
        (raw / "pets/dog/half.png").write_bytes((raw / "pets/dog/01-000.png").read_bytes()[:100])
        (raw / "pets/dog/tab\tname.png").write_bytes(b"x")
        os.close(os.open(os.fsencode(raw) + b"/pets/dog/\xff.png", os.O_CREAT | os.O_WRONLY))
        (raw / "pets/dog/out.png").symlink_to("/etc/hostname")
        (raw / "pets/dog/dangling.png").symlink_to("nowhere.png")
        os.mkfifo(raw / "pets/dog/pipe.png")
        good = Image.open(raw / "pets/dog/01-000.png").rotate(90)
        for name in ('\U0001f600 =1+1,"x".png', "n" * 250 + ".png"):
            (raw / "pets/cat/00-000.png").rename(raw / "pets/cat" / name)
            good.save(raw / "pets/cat/00-000.png")
            good = good.rotate(90)
        prepared, dataset = run(max_rejected_share=0.1)
        expected = {
            "pets/dog/\\udcff.png": "bad_name",
            "pets/dog/out.png": "link",
            "pets/dog/dangling.png": "link",
            "pets/dog/pipe.png": "special_file",
            "pets/cat/empty.png": "empty_file",
            "pets/cat/page.jpg": "not_an_image",
            "pets/dog/half.png": "corrupt",
            "pets/dog/tab\\tname.png": "bad_name",
        }
        assert {file.source: file.reason for file in prepared.rejected} == expected
        with (tmp_path / "prepared" / "rejected.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["source"]: row["reason"] for row in rows} == expected
        assert all(row["detail"] for row in rows)
        assert prepared.total_files == 90
        assert prepared.skipped == {}
        assert len(dataset.manifest) == 82
        names = set(dataset.manifest["source"])
        assert {'pets/cat/\U0001f600 =1+1,"x".png', "pets/cat/" + "n" * 250 + ".png"} <= names

    def test_too_many_stop_the_stage_with_counts_and_the_first(self, raw, run):
        for number in range(8):
            (raw / f"pets/cat/empty{number}.png").write_bytes(b"")
        (raw / "pets/dog/page.png").write_bytes(b"<html></html>")
        with pytest.raises(
            ValueError, match=r"9 of 89 images were rejected.*0\.1\).*empty_file 8, not_an_image 1;"
        ) as error:
            run(max_rejected_share=0.1)
        assert "\n  pets/cat/empty0.png: empty_file: 0 bytes" in str(error.value)

    def test_share_is_a_limit_that_may_be_reached(self, raw, run):
        for number in range(20):
            (raw / f"pets/cat/empty{number}.png").write_bytes(b"")
        run(max_rejected_share=0.2)

    def test_file_that_kills_its_process_is_rejected(self, raw, run, monkeypatch):
        monkeypatch.setattr(processes, "WORKER_MODULE", "tests.data.dying_worker")
        (raw / "pets/cat/00-000.png").rename(raw / "pets/cat/dies.png")
        prepared, dataset = run(max_rejected_share=0.1)
        assert [(file.source, file.reason) for file in prepared.rejected] == [("pets/cat/dies.png", "decoder_died")]
        assert len(dataset.manifest) == 79

    def test_last_file_of_all(self, raw, run):
        (raw / "pets/dog/zzz.png").write_bytes(b"")
        assert len(run()[1].manifest) == 80

    def test_a_class_without_a_valid_image_is_dropped(self, raw, run):
        (raw / "pets/cow").mkdir()
        (raw / "pets/cow/1.png").write_bytes(b"")
        prepared, dataset = run()
        assert dataset.info.classes == ("cat", "dog")
        assert prepared.lost == ("cow",)

    def test_a_hidden_folder_is_not_a_class_and_case_matters(self, raw, run, save_images):
        save_images(raw / "pets" / ".git", 3, seed=8)
        save_images(raw / "pets" / "Cat", 9, seed=9)
        prepared, dataset = run()
        assert dataset.info.classes == ("Cat", "cat", "dog")
        assert prepared.skipped == {"hidden files and folders": 1}


class TestDuplicates:
    def test_duplicates_are_kept_once_and_are_not_a_fault(self, raw, run):
        for number in range(40):
            image = Image.open(raw / f"pets/cat/00-{number:03d}.png")
            image.save(raw / f"pets/cat/again{number:03d}.bmp")
        prepared, dataset = run(max_rejected_share=0.0)
        assert {file.reason for file in prepared.rejected} == {"duplicate"}
        assert prepared.rejected[0].source == "pets/cat/again000.bmp"
        assert prepared.rejected[0].detail == "of pets/cat/00-000.png"
        assert dataset.manifest["sha256"].is_unique
        assert len(dataset.manifest) == 80

    def test_same_pixels_under_two_labels_are_both_rejected(self, raw, run):
        (raw / "pets/dog/same.png").write_bytes((raw / "pets/cat/00-000.png").read_bytes())
        prepared, dataset = run()
        assert [(file.source, file.reason) for file in prepared.rejected] == [
            ("pets/cat/00-000.png", "two_labels"),
            ("pets/dog/same.png", "two_labels"),
        ]
        assert prepared.rejected[0].detail == "the same pixels have the labels cat, dog"
        assert len(dataset.manifest) == 79


class TestSplit:
    def test_an_image_stays_in_its_split_when_the_dataset_grows_or_files_are_renamed(self, raw, run, save_images):
        _, before = run("a")
        save_images(raw / "pets" / "ant", 30, seed=5)
        (raw / "pets/cat/00-003.png").rename(raw / "pets/cat/zebra.png")
        _, after = run("b")
        first, second = splits_by_source(before), splits_by_source(after)
        second["pets/cat/00-003.png"] = second.pop("pets/cat/zebra.png")
        assert first == {source: second[source] for source in first}
        assert {"train", "test"} == set(first.values())

    @pytest.mark.parametrize("copies", [1, 2])
    def test_single_image_is_an_error(self, copies, tmp_path, run, save_images):
        for number in range(copies):
            save_images(tmp_path / "raw" / "pets" / f"{number}", 1)
            if number:
                (tmp_path / "raw/pets/1/00-000.png").rename(tmp_path / "raw/pets/0/copy.png")
        with pytest.raises(ValueError, match="at least 2 different images, one to train and one to test, got 1"):
            run()

    def test_a_class_too_small_for_training_is_named(self, raw, run, save_images):
        for number in range(8):
            save_images(raw / "pets" / f"rare{number}", 1, seed=20 + number)
        prepared, dataset = run()
        trained = {dataset.info.classes[label] for label in dataset.labels("train")}
        assert set(prepared.untrained) == set(dataset.info.classes) - trained
        assert prepared.untrained


class TestGivenSides:
    @pytest.fixture
    def sides(self, tmp_path, save_images):
        """A source with two splits of ten images, and one whose images are split by their content."""
        for seed, side in enumerate(("train", "test")):
            save_images(tmp_path / "raw" / f"set.{side}" / "cat", 10, seed=seed)
            self.note(tmp_path / "raw" / f"set.{side}", side)
        save_images(tmp_path / "raw" / "free" / "cat", 40, seed=2)
        return tmp_path / "raw"

    @staticmethod
    def note(folder: Path, side: str) -> None:
        (folder / "source.json").write_text(SourceNote(side).to_json())

    @pytest.mark.usefixtures("sides")
    def test_they_are_in_the_manifest(self, run):
        prepared, dataset = run()
        found = splits_by_source(dataset)
        assert {found[source] for source in found if source.startswith("set.train/")} == {"train"}
        assert {found[source] for source in found if source.startswith("set.test/")} == {"test"}
        assert {found[source] for source in found if source.startswith("free/")} == {"train", "test"}
        assert len(found) == 60
        assert prepared.skipped == {}

    def test_an_image_in_both_splits_is_only_a_test_image(self, sides, run):
        shutil.copy(sides / "set.test/cat/01-000.png", sides / "set.train/cat/0-again.png")
        shutil.copy(sides / "set.test/cat/01-000.png", sides / "free/cat/0-again.png")
        shutil.copy(sides / "set.train/cat/00-000.png", sides / "free/cat/0-train.png")
        prepared, dataset = run()
        assert [(file.source, file.reason, file.detail) for file in prepared.rejected] == [
            ("free/cat/0-again.png", "duplicate", "of set.test/cat/01-000.png"),
            ("free/cat/0-train.png", "duplicate", "of set.train/cat/00-000.png"),
            ("set.train/cat/0-again.png", "in_test", "of set.test/cat/01-000.png"),
        ]
        assert splits_by_source(dataset)["set.test/cat/01-000.png"] == "test"
        assert dataset.manifest["sha256"].is_unique

    @pytest.mark.parametrize("seed", range(3))
    def test_no_image_moves_from_test_to_train_in_any_history(self, seed, tmp_path, run, save_images):
        """A small dataset that grows by one or two images at a time, including copies in other splits."""
        random = np.random.default_rng(seed)
        pool = [tmp_path / "pool" / name for name in save_images(tmp_path / "pool", 8, seed=seed)]
        for name, side in (("a.train", "train"), ("b.test", "test"), ("c", None)):
            (tmp_path / "raw" / name).mkdir(parents=True)
            if side:
                self.note(tmp_path / "raw" / name, side)
        tested, prepared = set(), 0
        for step in range(14):
            for _ in range(random.integers(1, 3)):
                name, image = random.choice(["a.train", "b.test", "c", "c", "c"]), pool[random.integers(len(pool))]
                shutil.copy(image, tmp_path / "raw" / name / f"{step:02d}-{image.name}")
            try:
                dataset = run(f"{step}")[1]
            except ValueError as error:
                if not re.search("at least 2 different|none for t|are assigned to", str(error)):
                    raise
                continue
            prepared += 1
            now = set(dataset.rows("test")["sha256"])
            assert tested <= now
            tested = now
        assert prepared > 3

    def test_a_source_with_only_one_split_needs_another_source(self, tmp_path, run, save_images):
        save_images(tmp_path / "raw" / "set" / "cat", 10)
        self.note(tmp_path / "raw" / "set", "train")
        with pytest.raises(ValueError, match=r"all 10 images are assigned to train .*source\.json"):
            run()


def test_folder_without_images(tmp_path, run):
    (tmp_path / "raw").mkdir()
    with pytest.raises(ValueError, match="contains no image files"):
        run()


class TestRealData:
    def test_fashion_mnist_keeps_its_published_moments(self, test_data, tmp_path, run):
        count = 2000
        with gzip.open(test_data / "fashion-mnist" / "train-images-idx3-ubyte.gz") as file:
            images = np.frombuffer(file.read(16 + count * 784)[16:], dtype=np.uint8).reshape(count, 28, 28)
        with gzip.open(test_data / "fashion-mnist" / "train-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read(8 + count)[8:], dtype=np.uint8)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = tmp_path / "raw" / "fashion" / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        _, dataset = run(image_size=28)
        assert sum(dataset.info.counts.values()) == count
        # Moments of the whole set; the standard error at 1,600 images is 0.004.
        assert dataset.info.mean[0] == pytest.approx(0.2860, abs=0.015)
        assert dataset.info.std[0] == pytest.approx(0.3530, abs=0.015)
        for image, source in zip(dataset.images("test"), dataset.rows("test")["source"], strict=True):
            assert (image[0] == images[int(Path(source).stem)]).all()

    def test_tiles_of_every_kind(self, test_data, tmp_path, run):
        with zipfile.ZipFile(test_data / "pixel-tiles.zip") as tiles:
            tiles.extractall(tmp_path / "raw")
        prepared, dataset = run(image_size=32, channels=3)
        assert dataset.info.classes == ("dngn", "effect", "item", "misc", "mon", "player")
        assert {file.reason for file in prepared.rejected} == {"duplicate", "near_duplicate", "two_labels"}
        assert len(dataset.manifest) + len(prepared.rejected) == prepared.total_files == 3800
        assert dataset.manifest["sha256"].is_unique

    def test_photos_of_every_size(self, test_data, tmp_path, run):
        with zipfile.ZipFile(test_data / "clothing-photos.zip") as photos:
            names = [name for name in photos.namelist() if "/validation/" in name]
            photos.extractall(tmp_path / "zip", names)
        prepared, dataset = run(image_size=32, channels=3, fit="pad", raw=tmp_path / "zip" / "clothing-photos")
        assert prepared.rejected == ()
        assert sum(dataset.info.counts.values()) == 100
        assert len(dataset.info.classes) == 10

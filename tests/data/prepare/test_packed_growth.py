"""A dataset does not depend on whether its images are files or in packs, nor on the history of its packs."""

import io
import os
import shutil
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from genai_core.config import load_config
from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.ingest.add import add_source
from genai_core.data.ingest.remove import remove_images
from genai_core.data.prepare import decode_new, read_files
from genai_core.data.prepare.prepare import prepare
from genai_core.data.raw import pack_indexes
from genai_core.image_size import ImageSize
from tests.packed import files_in

ROOT = Path(__file__).parents[3]


def save(folder: Path, name: str, seed: int, size: int = 12) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)).save(path)
    return path


class Checkout:
    """Add to and remove from a data/raw of packs, and prepare it, each time from the previous version."""

    def __init__(self, folder: Path, **changes):
        self.folder, self.raw, self.count = folder, folder / "raw", 0
        values = {"image_size": ImageSize.square(12), "shard_images": 16, "max_rejected_share": 0.0, **changes}
        self.config = load_config(ROOT / "params.yaml").data.model_copy(update=values)

    def add(self, images: dict[str, int], name: str = "set"):
        source = self.folder / "source"
        for image, seed in images.items():
            save(source, image, seed)
        added = add_source(str(source), self.raw, name, indexes=self.folder / "indexes")
        shutil.rmtree(source)
        return added

    def remove(self, *patterns: str, name: str = "set", **options):
        kept = {"indexes": self.folder / "indexes", "cache_folder": self.folder / "cache"}
        return remove_images(self.raw, name, patterns, **kept, **options)

    def prepare(self, *, fresh: bool = False):
        before = self.folder / str(self.count) if self.count and not fresh else None
        self.count += 1
        out = self.folder / str(self.count)
        out.mkdir()
        kept = {} if fresh else {"cache_folder": self.folder / "cache", "indexes": self.folder / "indexes"}
        prepare(self.raw, out, self.config, workers=1, previous=before, **kept)
        return load_dataset(out)

    def packs(self) -> set[str]:
        return {path.name for path in self.raw.rglob("*.tar")}


def images(first: int, last: int) -> dict[str, int]:
    return {f"{'cat' if number % 2 else 'dog'}/{number:03d}.png": number for number in range(first, last)}


def says(dataset):
    columns = ["id", "sha256", "label", "split", "source", "flags"]
    pixels = [dataset.images(split).tobytes() for split in ("train", "test")]
    return dataset.info, dataset.manifest[columns].to_csv(), pixels, (dataset.folder / "rejected.csv").read_text()


def as_files(checkout: Checkout, folder: Path) -> Checkout:
    """The same images as files."""
    for source in checkout.raw.iterdir():
        for image, content in files_in(source).items():
            path = folder / "raw" / source.name / image
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return Checkout(folder)


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path / "packed")
    made.folder.mkdir()
    made.add(images(0, 60))
    return made


def test_packed_images_give_the_same_dataset_as_files(checkout, tmp_path):
    checkout.add(images(60, 70))
    checkout.add(images(70, 80), "other")
    assert len(checkout.packs()) == 3
    packed = checkout.prepare()
    alone = as_files(checkout, tmp_path / "alone").prepare()
    assert says(packed) == says(alone)
    assert len(packed.manifest) == 80


def test_packing_files_later_changes_only_their_location(checkout, tmp_path, monkeypatch):
    alone = as_files(checkout, tmp_path / "alone")
    first = alone.prepare()
    shutil.rmtree(alone.raw)
    shutil.copytree(checkout.raw, alone.raw)
    monkeypatch.setattr(decode_new, "decode_files", lambda locations, *_, **__: iter(() if not locations else 1 / 0))
    assert says(alone.prepare()) == says(first)


def test_old_packs_are_not_read_and_only_new_images_are(checkout, monkeypatch):
    monkeypatch.setattr(pack_indexes, "RACY_NS", 0)
    checkout.prepare()
    checkout.add(images(60, 63))
    hashed, decoded, walked = [], [], []
    hash_locations, decode, read_pack = read_files.hash_locations, decode_new.decode_files, pack_indexes.read_pack
    monkeypatch.setattr(
        read_files,
        "hash_locations",
        lambda locations: (hashed.extend(location.name for location in locations), hash_locations(locations))[1],
    )
    monkeypatch.setattr(pack_indexes, "read_pack", lambda path: (walked.append(path.name), read_pack(path))[1])
    monkeypatch.setattr(
        decode_new,
        "decode_files",
        lambda locations, *a, **k: (
            decoded.extend(location.name for location in locations),
            decode(locations, *a, **k),
        )[1],
    )
    checkout.prepare()
    assert sorted(hashed) == sorted(decoded) == sorted(f"set/{name}" for name in images(60, 63))
    assert walked == []  # adding them wrote an index


def test_a_rewritten_pack_is_not_read_again(checkout, monkeypatch):
    bad = checkout.raw / "set" / "mine.tar"
    with tarfile.open(bad, "w") as pack:
        for name, content in (
            ("cat/zero.png", b""),
            ("cat/note.txt", b"text"),
            ("cat/z.pgm", b"P5 12 12 255\n" + bytes(144)),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            pack.addfile(info, io.BytesIO(content))
    checkout.config = checkout.config.model_copy(update={"max_rejected_share": 0.1})
    monkeypatch.setattr(pack_indexes, "RACY_NS", 0)
    checkout.prepare()
    monkeypatch.undo()
    checkout.remove("*5.png", "cat/z.pgm")  # just now, so the times of the new packs prove nothing
    walked, hashed = [], []
    read_pack, hash_locations = pack_indexes.read_pack, read_files.hash_locations
    monkeypatch.setattr(pack_indexes, "read_pack", lambda path: (walked.append(path), read_pack(path))[1])
    monkeypatch.setattr(
        read_files, "hash_locations", lambda locations: (hashed.extend(locations), hash_locations(locations))[1]
    )
    monkeypatch.setattr(decode_new, "decode_files", lambda locations, *_, **__: iter(() if not locations else 1 / 0))
    known = checkout.prepare()
    assert (walked, hashed) == ([], [])
    assert "set/cat/zero.png,empty_file" in (known.folder / "rejected.csv").read_text()
    for path in checkout.raw.rglob("*.tar"):
        remembered, walked_now = pack_indexes.indexed_pack(path, checkout.folder / "indexes")[0], read_pack(path)
        assert (remembered.names, remembered.end) == (walked_now.names, walked_now.end)
        for column in ("starts", "offsets", "sizes"):
            assert (getattr(remembered, column) == getattr(walked_now, column)).all()
    monkeypatch.undo()
    assert says(known) == says(checkout.prepare(fresh=True))


def test_the_index_of_a_rewritten_pack_that_was_changed_later_is_not_used(checkout):
    checkout.prepare()
    checkout.remove("*5.png")
    (path,) = checkout.raw.rglob("*.tar")
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[600] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    checkout.config = checkout.config.model_copy(update={"max_rejected_share": 1.0})
    assert says(checkout.prepare()) == says(checkout.prepare(fresh=True))


def test_adding_existing_images_writes_nothing(checkout):
    def state():
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in checkout.raw.rglob("*")}

    before = state()
    added = checkout.add(images(20, 40))
    assert (added.added_images, added.kept_images) == (0, 20)
    assert state() == before


def test_other_content_under_a_packed_name_is_refused_and_nothing_is_left(checkout):
    before = files_in(checkout.raw / "set")
    with pytest.raises(ValueError, match=r"set/dog/002\.png exists with other content; nothing was added"):
        checkout.add({"dog/100.png": 100, "dog/002.png": 999})
    assert files_in(checkout.raw / "set") == before
    assert not list(checkout.folder.glob(".raw*"))


def test_file_by_hand_is_seen_by_add(checkout):
    save(checkout.raw, "set/cat/101.png", 101)
    assert checkout.add({"cat/101.png": 101, "cat/103.png": 103}).kept_images == 1


def test_a_new_checkout_decodes_nothing_again_and_builds_its_indexes(checkout, monkeypatch):
    first = checkout.prepare()
    copy = checkout.folder / "copy"
    shutil.copytree(checkout.raw, copy)
    shutil.rmtree(checkout.raw)
    copy.rename(checkout.raw)
    shutil.rmtree(checkout.folder / "indexes")
    monkeypatch.setattr(decode_new, "decode_files", lambda locations, *_, **__: iter(() if not locations else 1 / 0))
    assert says(checkout.prepare()) == says(first)
    assert len(list((checkout.folder / "indexes").iterdir())) == 1


def test_a_pack_changed_with_the_same_size_and_time_is_detected(tmp_path):
    checkout = Checkout(tmp_path, test_share=0.5)

    def write(seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 12), dtype=np.uint8)
        with tarfile.open(checkout.raw / "set" / "x.tar", "w") as pack:
            for number, image in enumerate(pixels):
                info, content = tarfile.TarInfo(f"{number}.pgm"), b"P5 12 12 255\n" + image.tobytes()
                info.size = len(content)
                pack.addfile(info, io.BytesIO(content))

    (checkout.raw / "set").mkdir(parents=True)
    write(0)
    first = checkout.prepare()
    write(5)
    assert set(checkout.prepare().manifest["sha256"]).isdisjoint(first.manifest["sha256"])


class TestByHand:
    def test_a_file_wins_over_a_member_with_the_same_name(self, checkout):
        checkout.config = checkout.config.model_copy(update={"max_rejected_share": 0.1})
        save(checkout.raw, "set/cat/001.png", 999)  # other pixels
        save(checkout.raw, "set/dog/002.png", 2)  # the same
        dataset = checkout.prepare()
        (pack,) = checkout.packs()
        assert (dataset.folder / "rejected.csv").read_text().splitlines()[1:] == [
            f"set/cat/001.png,same_name,in set/{pack}; another image with this name is used",
            "set/dog/002.png,duplicate,of set/dog/002.png",
        ]
        assert len(dataset.manifest) == 60
        assert dataset.manifest["source"].is_unique
        shutil.rmtree(checkout.raw / "set" / "dog")
        (checkout.raw / "set/cat/001.png").unlink()
        shutil.copy(checkout.raw / "set" / pack, checkout.raw / "set" / "again.tar")
        assert len(checkout.prepare().manifest) == 60

    def test_a_damaged_pack_is_rejected_completely_and_may_stop_the_stage(self, checkout):
        checkout.add(images(60, 62))
        large, small = sorted(checkout.raw.rglob("*.tar"))
        small.write_bytes(small.read_bytes()[:-1600])
        checkout.config = checkout.config.model_copy(update={"max_rejected_share": 0.1})
        dataset = checkout.prepare()
        assert len(dataset.manifest) == 60
        rejected = (dataset.folder / "rejected.csv").read_text().splitlines()[1:]
        assert [row.split(",")[:2] for row in rejected] == [
            [f"set/{small.name}", "bad_pack"],
            ["set/cat/061.png", "bad_pack"],
        ]
        large.write_bytes(large.read_bytes()[:30_000])
        with pytest.raises(ValueError, match=r"were rejected.*bad_pack"):
            checkout.prepare()

    def test_hostile_members_are_listed_and_have_no_effect(self, checkout):
        checkout.config = checkout.config.model_copy(update={"max_rejected_share": 0.1})
        with tarfile.open(checkout.raw / "set" / "evil.tar", "w") as pack:
            for name, kind in (("../../evil.png", tarfile.REGTYPE), ("cat/link.png", tarfile.SYMTYPE)):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, "/etc/hostname"
                pack.addfile(info)
            info = tarfile.TarInfo("cat/page.png")
            info.size = 4
            pack.addfile(info, io.BytesIO(b"<htm"))
        dataset = checkout.prepare()
        assert [row.split(",")[:2] for row in (dataset.folder / "rejected.csv").read_text().splitlines()[1:]] == [
            ["set/../../evil.png", "bad_name"],
            ["set/cat/link.png", "bad_pack"],
            ["set/cat/page.png", "not_an_image"],
        ]
        assert not list(checkout.folder.parent.rglob("evil.png"))

    def test_member_larger_than_memory_is_rejected(self, checkout):
        """A sparse file of a terabyte, with zeros after its header."""
        checkout.config = checkout.config.model_copy(update={"max_rejected_share": 0.1})
        info = tarfile.TarInfo("cat/huge.png")
        info.size = 1 << 40
        with (checkout.raw / "set" / "huge.tar").open("wb") as pack:
            pack.truncate(pack.write(info.tobuf()) + info.size + 1024)
        dataset = checkout.prepare(fresh=True)
        assert "set/cat/huge.png,too_large" in (dataset.folder / "rejected.csv").read_text()


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "remove", "prepare"]), st.sets(st.integers(0, 19), min_size=1)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_history_equals_adding_the_remaining_images_at_once(steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    names = list(images(0, 20))
    grown, at_once = Checkout(folder / "grown"), Checkout(folder / "at_once")
    for made in (grown, at_once):
        made.folder.mkdir()
    there = images(20, 30)
    grown.add(there)
    for action, numbers in steps:
        chosen = {names[number]: number for number in sorted(numbers)}
        if action == "add":
            grown.add(chosen)
            there |= chosen
        elif action == "remove" and chosen.keys() & there.keys():
            removed = grown.remove(*chosen)
            assert removed.images == tuple(sorted(f"set/{name}" for name in chosen.keys() & there.keys()))
            there = {name: seed for name, seed in there.items() if name not in chosen}
            assert removed.left_images == len(there)
        elif action == "prepare":
            grown.prepare()
    at_once.add(there)
    assert files_in(grown.raw / "set") == files_in(at_once.raw / "set")
    assert says(grown.prepare()) == says(at_once.prepare(fresh=True))


def test_adding_the_same_in_two_checkouts_gives_the_same_bytes(tmp_path):
    made = [Checkout(tmp_path / name) for name in "ab"]
    for checkout in made:
        checkout.folder.mkdir()
        checkout.add(images(0, 10))
        time.sleep(0.01)
        checkout.add(images(10, 15))
    assert made[0].packs() == made[1].packs()
    for name in made[0].packs():
        assert (made[0].raw / "set" / name).read_bytes() == (made[1].raw / "set" / name).read_bytes()

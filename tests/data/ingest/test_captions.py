"""Captions of a source reach data/raw beside their images, and leave it with them."""

import tarfile

import numpy as np
import pytest

from genai_core.data.ingest.packing.png import encode_png
from genai_core.data.ingest.readers.items import Item, Reading
from genai_core.data.ingest.remove import remove_images
from genai_core.data.raw.images import find_raw_images
from tests.data.ingest.conftest import nothing_was_added
from tests.packed import files_in


def png(seed, size=6):
    return encode_png(np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8))


@pytest.fixture
def add_items(add, monkeypatch, tmp_path):
    """Add images with captions as any reader yields them: add_items({"a.png": ("a hat",)}, label="hat")."""

    def add_all(captions, label=None, split=None, name="set", **options):
        items = [Item(path, label, split, png(path.encode()[0]), texts) for path, texts in captions.items()]
        monkeypatch.setattr("genai_core.data.ingest.add.read_source", lambda *_, **__: Reading(items, len(items)))
        return add(tmp_path, name, **options)

    return add_all


def captions(raw, indexes=None):
    found = find_raw_images(raw, indexes)
    return dict(zip(found.names, [] if found.captions is None else found.captions.to_pylist(), strict=False))


def test_a_text_follows_its_image(add_items, raw):
    added = add_items({"a.png": ("a hat", "a red\nhat"), "b.png": (), "c.png": ("  ",)}, label="hat")
    assert (added.added_images, added.captioned_images, added.changed_captions) == (3, 1, 0)
    files = files_in(raw / "set")
    assert files["hat/a.txt"] == b"a hat\na red hat\n"
    assert list(files) == ["hat/a.png", "hat/a.txt", "hat/b.png", "hat/c.png"]
    assert captions(raw) == {"set/hat/a.png": "a hat\na red hat", "set/hat/b.png": None, "set/hat/c.png": None}
    (pack,) = (raw / "set").glob("*.tar")
    with tarfile.open(pack) as opened:
        assert opened.getnames() == ["hat/a.png", "hat/a.txt", "hat/b.png", "hat/c.png"]


def test_image_and_text_are_in_one_pack(add_items, raw, monkeypatch):
    monkeypatch.setattr("genai_core.data.ingest.packing.pack_writer.MAX_PACK_BYTES", 6 * 1024)
    add_items({f"{letter}.png": (letter * 900,) for letter in "abcdef"})
    packs = sorted((raw / "set").glob("*.tar"))
    assert len(packs) > 1
    for path in packs:
        assert path.stat().st_size <= 6 * 1024
        with tarfile.open(path) as opened:
            names = opened.getnames()
        assert {name[:-4] for name in names if name.endswith("png")} == {name[:-4] for name in names[1::2]}


def test_without_captions_the_pack_has_the_same_bytes_as_ever(add, raw, tmp_path, monkeypatch):
    items = [Item(name, "hat", None, name.encode() * 99) for name in ("a.png", "b.png")]
    monkeypatch.setattr("genai_core.data.ingest.add.read_source", lambda *_, **__: Reading(items, 2))
    add(tmp_path)
    (pack,) = (raw / "set").glob("*.tar")
    assert pack.name == "0000-55baa5b17ae8f899.tar"


def test_adding_again_replaces_captions_but_never_removes_them(add_items, raw, tmp_path):
    indexes = tmp_path / "indexes"
    add_items({"a.png": ("old",), "b.png": (), "c.png": ("kept",)}, indexes=indexes)
    before = {path.name: path.read_bytes() for path in (raw / "set").glob("*.tar")}
    added = add_items({"a.png": ("new",), "b.png": ("first",), "c.png": ()}, indexes=indexes)
    assert (added.added_images, added.kept_images, added.changed_captions) == (0, 3, 2)
    assert captions(raw, indexes) == {"set/a.png": "new", "set/b.png": "first", "set/c.png": "kept"}
    assert all((raw / "set" / name).read_bytes() == content for name, content in before.items())
    again = add_items({"a.png": ("new",), "b.png": ("first",), "c.png": ("kept",)}, indexes=indexes)
    assert (again.kept_images, again.changed_captions) == (3, 0)
    assert len(list((raw / "set").glob("*.tar"))) == 2


def test_two_images_of_one_stem_share_captions_or_are_refused(add_items, raw):
    with pytest.raises(ValueError, match=r"a\.png and a\.jpg would share the captions in a\.txt, but have different"):
        add_items({"a.png": ("one",), "a.jpg": ()})
    with pytest.raises(ValueError, match=r"would share the captions"):
        add_items({"a.png": (), "a.jpg": ("one",)})
    assert nothing_was_added(raw)
    added = add_items({"a.png": ("one",), "a.jpg": ("one",)})
    assert (added.captioned_images, captions(raw)) == (2, {"set/a.jpg": "one", "set/a.png": "one"})
    with pytest.raises(ValueError, match="would share the captions"):
        add_items({"a.png": ("other",)})


def test_a_text_written_by_hand_is_not_overruled(add_items, raw):
    add_items({"a.png": ("old",)})
    (raw / "set" / "a.txt").write_text("by hand")
    add_items({"a.png": ("by hand",)})
    with pytest.raises(ValueError, match=r"a\.txt has other captions than the source; nothing was added; edit or"):
        add_items({"a.png": ("new",)})


def test_unusable_captions_are_counted_and_the_image_is_added(add_items, raw):
    texts = {f"{letter}.png": (letter,) for letter in "abcdefghijklmnopqrstuvwxyz"}
    added = add_items({**texts, "a.png": ("x" * 5000, "short")})
    assert [tuple(file) for file in added.rejected] == [
        ("a.png", "bad_caption", "a caption of 5,000 characters; at most 4,096")
    ]
    assert (added.added_images, captions(raw)["set/a.png"]) == (26, "short")
    with pytest.raises(ValueError, match=r"1 of 2 images or labels were rejected.*bad_caption 1"):
        add_items({"a.png": ("x" * 5000,), "b.png": ()}, name="other")


def test_splits_have_their_own_texts(add_items, raw, monkeypatch, add, tmp_path):
    items = [Item(f"{n}.png", None, split, png(n), (split,)) for n, split in enumerate(("train", "test"))]
    monkeypatch.setattr("genai_core.data.ingest.add.read_source", lambda *_, **__: Reading(items, 2))
    add(tmp_path)
    assert captions(raw) == {"set.test/1.png": "test", "set.train/0.png": "train"}


def test_removal_takes_the_captions_along(add_items, raw, tmp_path):
    kept = {"indexes": tmp_path / "indexes", "cache_folder": tmp_path / "cache"}
    add_items({"a.png": ("secret",), "b.png": ("b",), "c.png": ()}, indexes=kept["indexes"])
    add_items({"a.png": ("SECRET",), "d.png": ("d",)}, indexes=kept["indexes"])
    removed = remove_images(raw, "set", ["a.png"], **kept)
    assert (removed.images, removed.left_images, removed.rewritten_packs) == (("set/a.png",), 3, 2)
    assert not any(b"secret" in path.read_bytes().lower() for path in raw.rglob("*") if path.is_file())
    expected = {"set/b.png": "b", "set/c.png": None, "set/d.png": "d"}
    assert captions(raw, kept["indexes"]) == captions(raw) == expected
    assert list(files_in(raw / "set")) == ["b.png", "b.txt", "c.png", "d.png", "d.txt"]


def test_removing_what_a_pack_only_captions_deletes_that_pack(add_items, raw):
    add_items({"a.png": ("old",), "b.png": ()})
    add_items({"a.png": ("new",)})
    (raw / "set" / "a.txt").write_text("by hand")
    remove_images(raw, "set", ["a.png"])
    assert list(files_in(raw / "set")) == ["b.png"]
    assert len(list((raw / "set").iterdir())) == 1


def test_an_image_that_stays_keeps_shared_captions(add_items, raw):
    add_items({"a.png": ("one",), "a.jpg": ("one",)})
    remove_images(raw, "set", ["a.png"])
    assert captions(raw) == {"set/a.jpg": "one"}


def test_texts_in_class_folders_are_captions_and_boxes_are_not(tmp_path, add, raw):
    """The form of data/raw itself, unpacked, and of folders to fine-tune on; *.txt of boxes are counted as before."""
    for number in range(6):
        path = tmp_path / "source" / ("hat" if number % 2 else "shoe") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
        path.with_suffix(".txt").write_text(f"number {number}\na thing" if number < 4 else "0 0.5 0.5 0.1 0.1")
    (tmp_path / "source" / "hat" / "notes.txt").write_text("of no image")
    added = add(tmp_path / "source")
    assert (added.captioned_images, added.understood.captions) == (4, "the texts beside the images")
    assert added.skipped == {".txt files": 3}
    assert captions(raw)["set/hat/1.png"] == "number 1\na thing"
    assert captions(raw)["set/hat/5.png"] is None

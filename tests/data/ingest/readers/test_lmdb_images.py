import lmdb
import pytest
from PIL import Image

from tests.data.image_files import encoded
from tests.data.ingest.conftest import nothing_was_added


@pytest.fixture
def write(pixels):
    """Write a database of encoded images, as the datasets' own scripts do."""

    def make(path, keys, form="WEBP", seed=0, more=(), **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        images = [encoded(Image.fromarray(image), form, **options) for image in pixels(len(keys), 3, seed=seed)]
        with (
            lmdb.open(str(path), subdir=not path.suffix, map_size=1 << 20) as database,
            database.begin(write=True) as all_,
        ):
            for key, value in [*zip(keys, images, strict=True), *more]:
                all_.put(key, value)
        return images

    return make


def test_lsun(write, tmp_path, read):
    keys = [b"%040x" % number for number in range(3)]
    images = write(tmp_path / "bedroom_val_lmdb", keys, lossless=True)
    reading, items = read(tmp_path / "bedroom_val_lmdb")
    assert [(item.label, item.split) for item in items.values()] == [(None, "test")] * 3
    assert items[f"{2:040x}.webp"].content == images[2]
    assert reading.understood.split == "names of the folders"


def test_categories_of_lsun_are_classes(write, tmp_path, add):
    for seed, category in enumerate(("church_outdoor", "bedroom")):
        write(tmp_path / "lsun" / f"{category}_train_lmdb", [b"%040x" % (seed + 1), b"%040x" % (seed + 9)], seed=seed)
    assert add(tmp_path / "lsun").classes == {"bedroom": 2, "church_outdoor": 2}


def test_only_the_largest_of_several_resolutions_is_read(write, tmp_path, read):
    keys = [b"%d-%05d" % (resolution, number) for resolution in (64, 128, 8) for number in range(2)]
    write(tmp_path / "ffhq.lmdb", keys, "PNG", more=[(b"length", b"2")])
    reading, items = read(tmp_path / "ffhq.lmdb")
    assert list(items) == ["128-00000.png", "128-00001.png"]
    assert "only the largest is read: 128" in reading.notes[0]
    assert reading.rejected == []


def test_other_values_are_rejected(write, tmp_path, add):
    write(tmp_path / "a.lmdb", [b"a/1.png", b"\xff\xff"], "JPEG", more=[(b"meta", b"\x80\x04\x95pickle")])
    added = add(tmp_path / "a.lmdb", max_rejected_share=0.5)
    assert [(file.source, file.reason) for file in added.rejected] == [("a: meta", "no_image")]
    assert added.added_images == 2


def test_damaged_database(write, tmp_path, add, raw):
    write(tmp_path / "good_lmdb", [b"1", b"2"])
    good = (tmp_path / "good_lmdb" / "data.mdb").read_bytes()
    for name, content in {"cut": good[:100], "empty": b"", "html": b"<html>" * 2000}.items():
        (tmp_path / f"{name}.lmdb").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.lmdb: "):
            add(tmp_path / f"{name}.lmdb")
    assert nothing_was_added(raw)

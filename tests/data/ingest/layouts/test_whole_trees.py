"""Files of a tree that are no images of their own, and folders that are no classes."""

from tests.data.ingest.trees import labels, read
from tests.packed import files_in


def test_masks_are_left_out_and_said(root, images, save_images):
    names = images("images", 4)
    for name in names:
        (root / "masks").mkdir(exist_ok=True)
        (root / "masks" / name).write_bytes((root / "images" / name).read_bytes())
    reading, said = read(root)
    assert labels(said) == dict.fromkeys(names)
    assert reading.skipped == {"masks": 4}
    assert "note: masks/: taken as masks of other images and left out" in reading.notes


def test_system_files_are_no_classes(root, images):
    for folder in ("hat", "shoe", "__MACOSX/hat", "@eaDir/1.jpg", ".ipynb_checkpoints"):
        images(folder, 2)
    for name in (".DS_Store", "hat/Thumbs.db", "shoe/desktop.ini"):
        (root / name).write_bytes(b"x")
    reading, said = read(root)
    assert set(labels(said).values()) == {"hat", "shoe"}
    assert reading.skipped == {"hidden files and folders": 6}


def test_shards_become_one_flat_set(root, add, raw, save_images):
    for shard in range(3):
        for n, name in enumerate(save_images(root / f"{shard:05d}", 4, seed=shard)):
            (root / f"{shard:05d}" / name).rename(root / f"{shard:05d}" / f"img{shard * 1000 + n:08d}.png")
    added = add(root)
    assert added.classes == {}
    assert list(files_in(raw / "set"))[:2] == ["00000-img00000000.png", "00000-img00000001.png"]

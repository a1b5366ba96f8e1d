"""Two versions of a dataset, compared image by image."""

import json

import numpy as np
import pytest

from genai_core.data.dataset.compare import NO_CLASS, ImageExample, added_rows, compare_datasets
from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize


def pixels(*seeds, size=4):
    return np.stack([np.random.default_rng(seed).integers(0, 256, (1, size, size), dtype=np.uint8) for seed in seeds])


def write(folder, images, classes=("cat", "dog"), size=4):
    """images: {seed: (class or None, split, source)}."""
    writer = DatasetWriter(folder, image_size=ImageSize.square(size), channels=1, classes=classes, shard_images=4)
    for split in ("train", "test"):
        chosen = {seed: entry for seed, entry in images.items() if entry[1] == split}
        labels = np.array([classes.index(entry[0]) for entry in chosen.values()]) if classes else None
        writer.add(split, pixels(*chosen, size=size), labels, sources=[entry[2] for entry in chosen.values()])
    writer.finish()
    return load_dataset(folder)


BEFORE = {
    1: ("cat", "train", "n/cat/1.png"),
    2: ("cat", "train", "n/cat/2.png"),
    3: ("dog", "train", "n/dog/3.png"),
    4: ("dog", "test", "n/dog/4.png"),
}


@pytest.fixture
def before(tmp_path):
    return write(tmp_path / "before", BEFORE)


def test_a_dataset_with_itself(before):
    change = compare_datasets(before, before)
    assert (change.added, change.removed, change.relabelled, change.moved_between_splits, change.renamed) == (0,) * 5
    assert change.matched_by == "pixels"
    assert change.added_share == 0.0


def test_every_kind_of_change(before, tmp_path):
    after = write(
        tmp_path / "after",
        {
            1: ("dog", "train", "n/dog/1.png"),  # another class, and so another name
            3: ("dog", "test", "n/dog/3.png"),  # another split
            4: ("dog", "test", "n/dog/four.png"),  # another name
            5: ("cat", "train", "m/cat/5.png"),
            6: ("cat", "test", "m/cat/6.png"),
        },
    )
    change = compare_datasets(before, after)
    assert (change.added, change.added_train, change.added_test, change.removed) == (2, 1, 1, 1)
    assert (change.relabelled, change.moved_between_splits, change.renamed) == (1, 1, 2)
    assert (change.removed_train, change.relabelled_train) == (1, 1)
    assert change.added_share == pytest.approx(2 / 5)
    assert change.examples["added"] == (
        ImageExample("m/cat/5.png", None, "cat"),
        ImageExample("m/cat/6.png", None, "cat"),
    )
    assert change.examples["removed"] == (ImageExample("n/cat/2.png", "cat", None),)
    assert change.examples["relabelled"] == (ImageExample("n/dog/1.png", "cat", "dog"),)
    assert change.examples["moved_between_splits"] == (ImageExample("n/dog/3.png", "train", "test"),)
    assert [(c.name, c.before, c.after) for c in change.classes] == [("cat", 2, 2), ("dog", 2, 3)]
    assert sorted(added_rows(before, after)["source"]) == ["m/cat/5.png", "m/cat/6.png"]


def test_a_new_first_class_relabels_nothing(before, tmp_path):
    after = write(tmp_path / "after", {**BEFORE, 5: ("ant", "train", "n/ant/5.png")}, classes=("ant", "cat", "dog"))
    change = compare_datasets(before, after)
    assert (change.added, change.relabelled) == (1, 0)
    assert [(c.name, c.before, c.after) for c in change.classes] == [("ant", 0, 1), ("cat", 2, 2), ("dog", 2, 2)]
    assert sum(c.after_share for c in change.classes) == pytest.approx(1.0)


def test_images_of_another_size_are_matched_by_name(before, tmp_path):
    after = write(tmp_path / "after", {seed: BEFORE[seed] for seed in (1, 2, 4)}, size=8)
    change = compare_datasets(before, after)
    assert change.matched_by == "source"
    assert (change.added, change.removed, change.relabelled) == (0, 1, 0)


def test_images_with_other_pixels_from_other_decoders_are_neither_new_nor_removed(before, tmp_path):
    after = write(
        tmp_path / "after",
        {
            1: ("cat", "train", "n/cat/one.png"),  # the same pixels under another name
            12: ("cat", "train", "n/cat/2.png"),  # other pixels of the same file
            14: ("dog", "train", "n/dog/4.png"),  # and another split, which follows from the pixels
            5: ("cat", "test", "n/cat/5.png"),
        },
    )
    change = compare_datasets(before, after)
    assert (change.added, change.removed, change.redecoded) == (3, 3, 0)  # other images under these names
    for dataset, version in ((before, "12.3.0"), (after, "13.0.0")):
        (dataset.folder / "decoders.json").write_text(json.dumps({"pillow": version}))
    change = compare_datasets(before, after)
    assert (change.added, change.removed, change.redecoded, change.renamed) == (1, 1, 2, 1)
    assert (change.moved_between_splits, change.relabelled, change.matched_by) == (1, 0, "pixels")
    assert [example.source for example in change.examples["removed"]] == ["n/dog/3.png"]
    assert list(added_rows(before, after)["source"]) == ["n/cat/5.png"]


def test_images_without_classes(tmp_path):
    images = {1: (None, "train", "n/1.png"), 2: (None, "test", "n/2.png")}
    old = write(tmp_path / "old", images, classes=())
    new = write(tmp_path / "new", {**images, 3: (None, "train", "n/3.png")}, classes=())
    change = compare_datasets(old, new)
    assert (change.added, change.relabelled) == (1, 0)
    assert [(c.name, c.before, c.after) for c in change.classes] == [(NO_CLASS, 2, 3)]


def test_no_pixels_are_read(before, tmp_path):
    for shard in (before.folder / "shards").iterdir():
        shard.unlink()
    bare = load_dataset(before.folder, needs_pixels=False)
    assert compare_datasets(bare, bare).before_images == 4
    with pytest.raises(FileNotFoundError, match="shards are missing"):
        load_dataset(before.folder)


def test_what_is_removed_from_the_test_split_or_relabelled_there_is_not_of_the_train_split(tmp_path):
    test = {1: ("cat", "test", "n/cat/1.png"), 2: ("cat", "test", "n/cat/2.png")}
    before = write(tmp_path / "before", {**test, 3: ("dog", "train", "n/dog/3.png")})
    after = write(tmp_path / "after", {1: ("dog", "test", "n/dog/1.png"), 3: ("dog", "train", "n/dog/3.png")})
    change = compare_datasets(before, after)
    assert (change.removed, change.removed_train, change.relabelled, change.relabelled_train) == (1, 0, 1, 0)

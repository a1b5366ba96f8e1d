"""Which images are new to a model, and how often each kind is seen."""

from pathlib import Path

import numpy as np
import pytest

from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.seen import (
    are_new,
    are_relabelled,
    count_seen_held_out,
    epoch_with_replay,
    image_keys,
    renamed_classes,
    write_seen,
)
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize

PIXELS = np.random.default_rng(0).integers(0, 255, (8, 1, 8, 8), dtype=np.uint8)


def dataset(folder: Path, rows: list[int], labels: list[int], classes: tuple[str, ...], flags=None):
    writer = DatasetWriter(folder, image_size=ImageSize.square(8), channels=1, classes=classes, shard_images=4)
    for split in ("train", "test"):
        writer.add(split, PIXELS[rows], np.array(labels), flags=flags)
    writer.finish()
    return load_dataset(folder)


def test_new_images_new_labels_and_renumbered_classes(tmp_path: Path) -> None:
    old = dataset(tmp_path / "old", [0, 1, 2], [0, 1, 1], ("cat", "dog"))
    write_seen(tmp_path / "seen.npy", old)
    # The classes have other numbers now; 1 is a cat now, 3 is new, 2 is unchanged.
    new = dataset(tmp_path / "new", [0, 1, 2, 3], [1, 1, 2, 0], ("bird", "cat", "dog"))
    found = dict(zip(new.rows("train")["id"], are_new(new, tmp_path / "seen.npy"), strict=True))
    ids = list(new.rows("train")["id"])
    assert [bool(found[name]) for name in ids] == [False, True, False, True]
    assert not are_new(old, tmp_path / "seen.npy").any()
    assert count_seen_held_out(new, tmp_path / "seen.npy") == 3  # with any label
    assert count_seen_held_out(new, tmp_path / "gone.npy") == 0
    with pytest.raises(FileNotFoundError, match=r"gone\.npy is missing: nothing says which images"):
        are_new(old, tmp_path / "gone.npy")


def test_images_that_a_model_left_out_are_new_to_it(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", [0, 1, 2], [0, 1, 1], ("cat", "dog"))
    np.save(tmp_path / "unseen.npy", image_keys(data)[1:2])
    write_seen(tmp_path / "seen.npy", data, tmp_path / "unseen.npy")
    assert are_new(data, tmp_path / "seen.npy").tolist() == [False, True, False]
    write_seen(tmp_path / "seen.npy", data, tmp_path / "none.npy")
    assert not are_new(data, tmp_path / "seen.npy").any()


def test_an_image_that_had_another_class(tmp_path: Path) -> None:
    old = dataset(tmp_path / "old", [0, 1, 2], [0, 1, 1], ("cat", "dog"))
    write_seen(tmp_path / "seen.npy", old)
    new = dataset(tmp_path / "new", [0, 1, 2, 3], [1, 0, 2, 0], ("big", "cat", "dog"))
    found = are_relabelled(new, tmp_path / "seen.npy")
    of_1 = image_keys(new).tolist().index(next(key for key in image_keys(new) if key[:16] == image_keys(old)[1][:16]))
    assert np.flatnonzero(found).tolist() == [of_1]


def test_a_class_with_another_name_is_known_by_its_images(tmp_path: Path) -> None:
    seen, before = tmp_path / "seen.npy", ("bird", "cat", "dog")
    write_seen(seen, dataset(tmp_path / "old", [0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 1, 2], before))
    # The cats are called feline, and have a new image; of the birds, one is left, among new images.
    now = dataset(tmp_path / "new", [0, 6, 7, 2, 3, 4, 5], [2, 2, 2, 1, 1, 1, 0], ("dog", "feline", "owl"))
    names = renamed_classes(now, seen, before)
    assert names == {"feline": "cat"}
    found = dict(zip(now.rows("train")["id"], are_new(now, seen, names), strict=True))
    assert [bool(found[name]) for name in now.rows("train")["id"]] == [True, True, True, False, False, False, False]
    half = dataset(tmp_path / "half", [2, 3, 4, 5], [0, 0, 1, 2], ("big cat", "cub", "dog"))
    assert renamed_classes(half, seen, ("cat", "dog")) == {"big cat": "cat"}, "most of the cats"
    merged = dataset(tmp_path / "merged", [0, 1, 2, 3, 4, 6, 5], [0, 0, 0, 0, 0, 0, 1], ("animal", "dog"))
    assert renamed_classes(merged, seen, before) == {}, "of six animals, three were cats"
    of_3, of_4 = (
        f"augmented:{dataset(tmp_path / f'{image}', [image], [0], ('a',)).rows('train')['id'].iloc[0]}"
        for image in (3, 4)
    )
    copies = [of_3, of_4, "", ""]
    split = dataset(tmp_path / "split", [6, 7, 3, 4], [0, 1, 0, 1], ("big cat", "cub"), flags=copies)
    assert renamed_classes(split, seen, before) == {}, "copies are no images of their own"
    assert renamed_classes(now, tmp_path / "gone.npy", before) == {}
    assert renamed_classes(now, seen, ("dog", "feline", "owl")) == {}


def test_a_copy_is_as_old_as_its_origin(tmp_path: Path) -> None:
    old = dataset(tmp_path / "old", [0, 1], [0, 1], ("cat", "dog"))
    keys = image_keys(old)
    origin = str(old.rows("train")["id"].iloc[0])
    copy = dataset(tmp_path / "copy", [4], [0], ("cat", "dog"), flags=[f"augmented:{origin}"])
    assert image_keys(copy).tolist() == [keys[0]]


@pytest.mark.parametrize(("new", "old", "share"), [(100, 900, 0.5), (900, 100, 0.5), (30, 300, 0.2), (10, 1000, 0.9)])
def test_the_share_of_old_images(new: int, old: int, share: float) -> None:
    is_new = np.arange(new + old) < new
    epoch = epoch_with_replay(is_new, share, seed=0)
    counts = np.bincount(epoch, minlength=new + old)
    assert counts[~is_new].sum() / len(epoch) == pytest.approx(share, abs=0.01)
    for kind in (counts[is_new], counts[~is_new]):
        assert kind.min() >= 1
        assert kind.max() - kind.min() <= 1


def test_without_old_images_and_without_new_ones() -> None:
    assert epoch_with_replay(np.array([False, True, True]), 0.0, seed=0).tolist() == [1, 2]
    assert epoch_with_replay(np.array([True, True]), 0.5, seed=0).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"trained on every image of the train split, so there is nothing new"):
        epoch_with_replay(np.array([False]), 0.0, seed=0)
    assert epoch_with_replay(np.array([False, False]), 0.5, seed=0).tolist() == [0, 1]  # only removals, or age

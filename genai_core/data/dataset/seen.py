"""Which images a model was trained on: a record beside a model, by which a fine-tuning finds the new ones."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from genai_core.data.dataset.dataset import NO_LABEL, Dataset
from genai_core.data.dataset.facts import Indices

SEEN_FILE = "seen.npy"
UNSEEN_FILE = "unseen.npy"  # beside a model: images of its data that neither it nor its base was trained on
SKIPPED = "images that it was not trained on"  # their number, in the model's summary
_AUGMENTED = r"augmented:(\w+)"  # in the flags of a copy: the id of its origin

_PIXELS = "S16"  # the first part of a key
Keys = npt.NDArray[np.bytes_]


def image_keys(
    dataset: Dataset, split: Literal["train", "test"] = "train", known_as: Mapping[str, str] | None = None
) -> Keys:
    """Return a key (N,) per image of a split, in manifest order: its pixels and its class by name.

    An image with another label is another image. An augmented copy has the key of its origin. known_as: former names of
    classes, by their names now.
    """
    rows = dataset.rows(split)
    names = ["", *((known_as or {}).get(name, name) for name in dataset.info.classes)]
    labels = np.array([_class_key(name) for name in names])[rows["label"].to_numpy() - NO_LABEL]
    origins = cast("pd.Series[str]", rows["flags"].str.extract(_AUGMENTED, expand=False))
    ids = origins.fillna(rows["id"]).str[:16].to_numpy(dtype=_PIXELS)
    return np.char.add(ids, labels)


def image_key(image_id: str, class_name: str) -> bytes:
    """Return the key of an image by its id in the manifest and its class's name, "" without classes."""
    return image_id[:16].encode() + _class_key(class_name)


def _class_key(name: str) -> bytes:
    """The second part of a key, for the class of this name."""
    return hashlib.sha256(name.encode()).hexdigest()[:16].encode()


def write_seen(path: Path, dataset: Dataset, unseen: Path | None = None) -> None:
    """Write the keys of the train split's images to `path`, each once and in order, without those in the file `unseen`.

    unseen: the model's own UNSEEN_FILE, if it has one.
    """
    keys = np.unique(image_keys(dataset))
    if unseen is not None and unseen.is_file():
        keys = np.setdiff1d(keys, np.load(unseen, allow_pickle=False))
    np.save(path, keys)


def are_new(dataset: Dataset, path: Path, known_as: Mapping[str, str] | None = None) -> npt.NDArray[np.bool_]:
    """Return (N,) which images of the train split are not among those in `path`. Raises FileNotFoundError.

    known_as: as in image_keys.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: nothing says which images this model was trained on. Use finetune.images: all, or "
            "bring in a version whose data is known: genai base prod"
        )
    return ~np.isin(image_keys(dataset, known_as=known_as), np.load(path, allow_pickle=False))


def classes_in(path: Path, classes: Sequence[str], known_as: Mapping[str, str] | None = None) -> set[str]:
    """Return those of the classes that have images in `path`. known_as: as in image_keys."""
    found = {name for _, name in _parts(np.load(path, allow_pickle=False))}
    return {name for name in classes if _class_key((known_as or {}).get(name, name)) in found}


def count_removed(dataset: Dataset, path: Path, known_as: Mapping[str, str] | None = None) -> int:
    """Return how many images in `path`, of classes that are still there, are no longer in the train split.

    An image with another label counts as removed. Raises FileNotFoundError.
    """
    names = [(known_as or {}).get(name, name) for name in dataset.info.classes]
    gone = np.setdiff1d(np.load(path, allow_pickle=False), image_keys(dataset, known_as=known_as))
    return sum(name in set(map(_class_key, names)) for _, name in _parts(gone))


def are_relabelled(dataset: Dataset, path: Path, known_as: Mapping[str, str] | None = None) -> npt.NDArray[np.bool_]:
    """Return (N,) which images of the train split are in `path` with another class only. Raises as are_new."""
    pixels = image_keys(dataset).astype(_PIXELS)
    return are_new(dataset, path, known_as) & np.isin(pixels, np.load(path, allow_pickle=False).astype(_PIXELS))


def renamed_classes(dataset: Dataset, path: Path, before: Sequence[str]) -> dict[str, str]:
    """Return the former names of classes that have another name now, by the new ones; none without the file `path`.

    before: the classes when `path` was written. A class has another name if one that is gone had most of its images,
    and it has most of that one's.
    """
    gone = {_class_key(name): name for name in before if name not in dataset.info.classes}
    new = {_class_key(name): name for name in dataset.info.classes if name not in before}
    if not gone or not new or not path.is_file():
        return {}
    now, was = _parts(np.unique(image_keys(dataset))), dict(_parts(np.load(path, allow_pickle=False)))
    of_now, of_was = Counter(name for _, name in now), Counter(was.values())
    both = Counter((was[pixels], name) for pixels, name in now if pixels in was)
    return {
        new[name]: gone[former]
        for (former, name), count in both.items()
        if former in gone and name in new and count > max(of_was[former], of_now[name]) / 2
    }


def _parts(keys: Keys) -> list[tuple[bytes, bytes]]:
    """Pixels and class of each key."""
    width = np.dtype(_PIXELS).itemsize
    return [(key[:width], key[width:]) for key in keys.tolist()]


def count_seen_held_out(dataset: Dataset, path: Path) -> int:
    """Return how many images of the test split are among those in `path`, with any label; 0 without that file."""
    if not path.is_file():
        return 0
    held_out, seen = (keys.astype(_PIXELS) for keys in (image_keys(dataset, "test"), np.load(path, allow_pickle=False)))
    return int(np.isin(held_out, seen).sum())


def epoch_with_replay(is_new: npt.NDArray[np.bool_], old_share: float, seed: int) -> Indices:
    """Return the rows (M,) of an epoch in which `old_share` of the images are old.

    is_new: (N,), of the train split's rows. Of the two kinds, the one that is there in excess comes once, and the other
    as often as the share needs; what remains of it is drawn at random. Share 0 leaves the old ones out; ValueError when
    nothing else is there. With another share and nothing new, each image comes once.
    """
    new, old = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    if not len(new) and old_share > 0.0:
        return old
    if not len(new):
        raise ValueError(
            "finetune.images: the base was trained on every image of the train split, so there is nothing new; use "
            "images: all, or add images"
        )
    if not len(old) or old_share == 0.0:
        return new
    wanted_new = len(old) * (1.0 - old_share) / old_share
    wanted = (round(wanted_new), len(old))
    if wanted_new < len(new):
        wanted = (len(new), max(1, round(len(new) * old_share / (1.0 - old_share))))
    generator = np.random.default_rng(seed)
    return np.concatenate([_repeated(rows, count, generator) for rows, count in zip((new, old), wanted, strict=True)])


def _repeated(rows: Indices, count: int, generator: np.random.Generator) -> Indices:
    times, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, times), generator.permutation(rows)[:rest]])

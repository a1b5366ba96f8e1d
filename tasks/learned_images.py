"""Which classes and images a fine-tuning learns, as `finetune:` says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.counted import counted
from genai_core.data.dataset.dataset import Dataset
from genai_core.data.dataset.facts import Indices
from genai_core.data.dataset.seen import (
    SEEN_FILE,
    UNSEEN_FILE,
    Keys,
    are_new,
    are_relabelled,
    classes_in,
    count_removed,
    epoch_with_replay,
    image_keys,
)
from genai_core.models.adapting.adapt import Adapted
from genai_core.models.protocol import ImageShape
from tasks.context import Context


@dataclass(frozen=True)
class Learned:
    """What a training learns.

    epoch: rows (M,) of the train split that an epoch consists of; None: each once. words: the same for the model's
    card; "" for all images. unseen: keys of images that it skips and that the model was not trained on before.
    """

    epoch: Indices | None = None
    words: str = ""
    unseen: Keys | None = None


def classes_to_learn(
    context: Context, dataset: Dataset, start: Path, names: Mapping[str, str], found: Adapted
) -> tuple[str, ...]:
    """Return the classes of which the model in the folder `start` has seen no image, and the train split has some.

    Such a class may be among those that the model draws, if all of its images were held out before. names: former names
    of classes. found: the model, made to fit the dataset.
    """
    classes = dataset.info.classes
    known = set(classes)
    if (start / SEEN_FILE).is_file():  # images that it skipped are of classes that it draws
        records = (path for path in (start / SEEN_FILE, start / UNSEEN_FILE) if path.is_file())
        known = set().union(*(classes_in(path, classes, names) for path in records))
    new = [name for name in classes if name in found.new_classes or name not in known]
    without = [name for name in new if not _are_of(dataset, [name]).any()]
    if without:
        context.tell(f"no image of {', '.join(without)} is in the train split, so nothing teaches the model that class")
    return tuple(name for name in new if name not in without)


def classes_of_their_own(
    context: Context, dataset: Dataset, start: Path, names: Mapping[str, str], base: ImageShape, found: Adapted
) -> tuple[str, ...]:
    """Return the new classes if they get a separate network; none if all classes are trained together.

    base: the shape of the model in the folder `start`. found: that model, made to fit the dataset. names: former names
    of classes. Raises ValueError if finetune.old_classes is keep and that is impossible.
    """
    config, new = context.config.finetune, found.new_classes
    if config.old_classes == "train" or config.kind == "few_step":
        return ()
    if not new:
        if config.old_classes == "keep":
            context.tell("finetune.old_classes: keep is for new classes, and none is new, so all are trained")
        return ()
    impossible = _why_impossible(base, found)
    if config.old_classes == "keep":
        if impossible:
            raise ValueError(f"finetune.old_classes: got keep; allowed: train or auto, because {impossible}")
        return new
    why = impossible or _why_unwise(dataset, start, names, new)
    if why:
        context.tell(f"finetune.old_classes: auto is train, because {why}")
        return ()
    context.tell("finetune.old_classes: auto is keep")
    return new


def learned_images(
    context: Context, dataset: Dataset, start: Path, names: Mapping[str, str], own_classes: Sequence[str]
) -> Learned:
    """Return what the model in the folder `start` learns.

    names: former names of classes. own_classes: those that a separate network learns; none: all together.
    """
    config = context.config.finetune
    if own_classes:
        return _images_of(context, dataset, start, names, own_classes)
    if config.images == "all":
        return Learned()
    if config.start == "selected":  # it was trained on this very split: nothing is new to it, and everything is used
        context.tell(f"finetune.images: {config.images} is for a base; {start} was trained on all images")
        return Learned()
    is_new = are_new(dataset, start / SEEN_FILE, names)
    only_old = config.images == "replay" and not is_new.any()
    how = "; without new ones, replay uses each old one once" if only_old else ""
    context.tell(f"{counted(int(is_new.sum()), 'new image')} of {len(is_new):,} to train on{how}")
    epoch = epoch_with_replay(is_new, config.replay_share if config.images == "replay" else 0.0, config.seed)
    if not is_new.any():
        return Learned(epoch, "old images, because none was new to it")
    old = f", and {config.replay_share:.0%} old ones" if config.images == "replay" else ""
    return Learned(epoch, f"images new to it{old}")


def _why_impossible(base: ImageShape, found: Adapted) -> str:
    """Return why no separate network can learn the new classes; "" if one can."""
    now = found.model.shape
    if not found.model.has_networks_for_classes:
        return f"a {found.model.family} model has one network for all classes"
    if (base.image_size, base.channels) != (now.image_size, now.channels):
        return "the images have another size or number of channels than the base's, which its network has to learn"
    if len(found.new_classes) == len(now.classes):
        return "all classes are new"
    return ""


def _why_unwise(dataset: Dataset, start: Path, names: Mapping[str, str], new_classes: Sequence[str]) -> str:
    """Return why the old classes are to be trained as well; "" if it is mostly the new ones that have new images."""
    record = start / SEEN_FILE
    if not record.is_file():
        return f"{record} is missing: nothing says which images of the other classes are new"
    is_new, is_of_new = are_new(dataset, record, names), _are_of(dataset, new_classes)
    moved = int((are_relabelled(dataset, record, names) & is_of_new).sum())
    if moved:
        return f"{counted(moved, 'image')} of the new classes had another class before, which has to change, too"
    of_new, of_old = int(is_of_new.sum()), int((is_new & ~is_of_new).sum())
    removed = count_removed(dataset, record, names)
    if of_old + removed < of_new:
        return ""
    changes = [f"{count:,} {how}" for count, how in ((of_old, "came"), (removed, "went")) if count]
    return f"of new classes, {counted(of_new, 'image')} came, and of the others, {' and '.join(changes)}"


def _images_of(
    context: Context, dataset: Dataset, start: Path, names: Mapping[str, str], own_classes: Sequence[str]
) -> Learned:
    is_own, record = _are_of(dataset, own_classes), start / SEEN_FILE
    named = f"{counted(int(is_own.sum()), 'image')} of {', '.join(own_classes)}"
    # Without a record, all count as new: what the base has seen may be learned twice, but nothing is missed for ever.
    has_record = record.is_file()
    is_unseen = (are_new(dataset, record, names) if has_record else np.ones_like(is_own)) & ~is_own
    left = f"{counted(int((~is_own).sum()), 'image')} of other classes skipped"
    left += f", {int(is_unseen.sum()):,} of them new" if has_record else f", all as new, because {record} is missing"
    context.tell(f"a separate network learns {named}; {left}")
    if context.config.finetune.images != "all":
        context.tell(f"finetune.images: {context.config.finetune.images} has no effect on it")
    unseen = image_keys(dataset)[is_unseen] if is_unseen.any() else None
    return Learned(np.flatnonzero(is_own), f"the {named}, by a separate network", unseen)


def _are_of(dataset: Dataset, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which images (N,) of the train split are of these classes."""
    labels = dataset.labels("train")
    assert labels is not None  # a dataset without classes has no new ones
    return np.isin(labels, [dataset.info.classes.index(name) for name in names])

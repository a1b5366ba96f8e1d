"""Which classes and images a fine-tuning learns, as `finetune:` says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.counted import counted
from genai_core.data.dataset.dataset import Dataset
from genai_core.data.dataset.facts import Indices
from genai_core.data.dataset.seen import SEEN_FILE, are_new, epoch_with_replay
from genai_core.models.adapting.adapt import Adapted
from tasks.context import Context


@dataclass(frozen=True)
class Learned:
    """epoch: rows (M,) of the train split that an epoch consists of; None: each once. told: in words; "" for all."""

    epoch: Indices | None = None
    told: str = ""


def classes_of_their_own(
    context: Context, dataset: Dataset, start: Path, names: Mapping[str, str], found: Adapted
) -> tuple[str, ...]:
    """Return the new classes if they get a network of their own; none if all classes are trained together.

    found: the model in the folder `start`, for this dataset. names: former names of classes.
    """
    config, new = context.config.finetune, found.new_classes
    if config.old_classes == "train" or config.kind == "few_step":
        return ()
    if not new:
        if config.old_classes == "keep":
            context.tell("finetune.old_classes: keep is for new classes, and none is new, so all are trained")
        return ()
    if config.old_classes == "keep":
        return new
    if not found.model.has_networks_for_classes:
        why = f"a {found.model.family} model has one network for all classes"
    elif not (start / SEEN_FILE).is_file():
        why = "no record says which images of other classes are new, too"
    else:
        is_new, is_of_new = are_new(dataset, start / SEEN_FILE, names), _are_of(dataset, new)
        of_new, of_old = int(is_of_new.sum()), int((is_new & ~is_of_new).sum())
        why = f"of the new images, {of_new:,} are of new classes and {of_old:,} of others"
        if of_new >= of_old:
            context.tell(f"finetune.old_classes: auto is keep, because {why}")
            return new
    context.tell(f"finetune.old_classes: auto is train, because {why}")
    return ()


def learned_images(
    context: Context, dataset: Dataset, start: Path, names: Mapping[str, str], only: Sequence[str]
) -> Learned:
    """Return what the model in the folder `start` learns from.

    names: former names of classes. only: classes that a network of its own learns; none: all are learned together.
    """
    config = context.config.finetune
    if only:
        return _of_classes(context, dataset, only)
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


def _of_classes(context: Context, dataset: Dataset, names: Sequence[str]) -> Learned:
    is_own = _are_of(dataset, names)
    own = np.flatnonzero(is_own)
    named = f"{counted(len(own), 'image')} of {', '.join(names)}"
    left = len(is_own) - len(own)
    context.tell(f"finetune.old_classes: keep: {named} to train on; {counted(left, 'image')} of other classes left out")
    return Learned(own, f"the {named}, by a network of their own; all other classes are drawn as before")


def _are_of(dataset: Dataset, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which images (N,) of the train split are of these classes."""
    labels = dataset.labels("train")
    assert labels is not None  # a dataset without classes has no new ones
    return np.isin(labels, [dataset.info.classes.index(name) for name in names])

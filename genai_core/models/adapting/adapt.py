"""Load a model for training on data with other classes, another number of channels or another image size.

Everything that still fits is kept. A class keeps what was learned about it, by its name. A new class starts as the mean
of the others: with that, the network already draws something plausible for it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from genai_core.config import GroupedRecipe, ModelRecipe
from genai_core.counted import counted
from genai_core.models.artifact import build_model, load_for_training, read_config
from genai_core.models.networks.diffusion.class_groups import regrouped
from genai_core.models.protocol import GenerativeModel, ImageShape

State = Mapping[str, Tensor]
_NETWORK = re.compile(r"\.networks\.(\d+)\.")  # in names of a model whose classes are drawn by several networks


class NotAdaptableError(ValueError):
    """The model cannot be made to fit; the message says why, and what to do."""


@dataclass(frozen=True)
class Adapted:
    """A model that fits the data.

    recipe: its own now. changes: what was changed for that, in sentences; none if it fitted already. new_classes: which
    it did not draw before, under any name. changed_weights: names of the weights that are not the loaded ones, such as
    those with a row per class.
    """

    model: GenerativeModel
    recipe: ModelRecipe
    changes: tuple[str, ...] = ()
    new_classes: tuple[str, ...] = ()
    changed_weights: frozenset[str] = frozenset()


def adapted(folder: Path, shape: ImageShape, known_as: Mapping[str, str] | None = None) -> Adapted:
    """Load the model in `folder` for training on images of `shape`.

    known_as: former names of classes, by their names now (genai_core/data/dataset/seen.py). Raises NotAdaptableError
    when too little of the model would remain, and as load_for_training does.
    """
    description = read_config(folder)
    old, recipe = description.shape, description.config
    source = load_for_training(folder)
    if shape == old:
        return Adapted(source, recipe)
    now_named = {former: name for name, former in (known_as or {}).items()}
    old = replace(old, classes=tuple(now_named.get(name, name) for name in old.classes))
    if bool(shape.classes) != bool(old.classes):
        why = "the images have classes, the model has none"
        if old.classes:
            why = "the model has classes, the images have none"
        raise NotAdaptableError(f"{folder} cannot continue: {why}; train a model from scratch")
    recipe, kept = _for_classes(recipe, shape.classes, now_named)
    try:
        target = build_model(recipe, shape)
    except ValueError as error:
        raise NotAdaptableError(f"{folder} cannot continue: {error}; train a model from scratch") from None
    rows, known = class_rows(recipe, shape), _of_networks(source.state_dict(), kept)
    state, changed = {}, set()
    for name, fresh in target.state_dict().items():
        learned = known.get(name)
        if learned is None:
            raise _differs(folder, old, shape, f"{name} has no counterpart")
        if name in rows and shape.classes != old.classes:
            learned = rows_by_class(learned, old.classes, shape.classes, _drawn_by(name, recipe))
            changed.add(name)
        elif learned.shape != fresh.shape:
            found = with_channels(learned, fresh, old.channels, shape.channels)
            if found is None:
                sizes = f"{tuple(learned.shape)} instead of {tuple(fresh.shape)}"
                raise _differs(folder, old, shape, f"{name} has the shape {sizes}")
            learned = found
            changed.add(name)
        state[name] = learned
    if lost := known.keys() - state.keys():
        raise _differs(folder, old, shape, f"{min(lost)} has no counterpart")
    target.load_state_dict(state)
    renumbered = {number for number, before in enumerate(kept) if number != before}
    changed |= {name for name in state if _number(name) in renumbered}
    new = tuple(name for name in shape.classes if name not in old.classes)
    return Adapted(target, recipe, tuple(_changes(old, shape, now_named)), new, frozenset(changed))


def class_rows(recipe: ModelRecipe, shape: ImageShape) -> set[str]:
    """Return the names of the weights with one row per class: those that get another row with another class.

    Found by building the networks, without memory for their weights, so that no family has to list them.
    """
    more = ImageShape(shape.image_size, shape.channels, (*shape.classes, "another class"))
    with torch.device("meta"):
        one = build_model(recipe, shape).state_dict()
        other = build_model(_for_classes(recipe, more.classes, {})[0], more).state_dict()
    return {name for name, tensor in one.items() if tensor.shape != other[name].shape}


def rows_by_class(
    learned: Tensor, before: tuple[str, ...], now: tuple[str, ...], drawn: Collection[str] = ()
) -> Tensor:
    """Return the rows (now + rest, ...) of classes `now`, from rows (before + rest, ...) of classes `before`.

    Each class has its row by name. A new one has the mean of the rows of classes `drawn`: others are in these weights
    that they do not draw. All classes, if none of `drawn` was there before. Rows after those of the classes, such as
    that of "no label", are kept.
    """
    own, rest = learned[: len(before)], learned[len(before) :]
    known = [before.index(name) for name in drawn if name in before]
    mean = (own[known] if known else own).mean(dim=0)
    rows = [own[before.index(name)] if name in before else mean for name in now]
    return torch.cat([torch.stack(rows), rest])


def with_channels(learned: Tensor, fresh: Tensor, before: int, now: int) -> Tensor | None:
    """Return a convolution's weights or bias for another number of image channels; None if that is not what differs.

    A convolution that reads images shares its weights among the channels, so a grey image in colour gives what the grey
    image gave. One that writes images writes the mean of the old channels into each new one.
    """
    if before == now or learned.dim() not in (1, 4):
        return None
    for dim in (0, 1)[: learned.dim()]:
        sizes = list(learned.shape)
        sizes[dim] = now
        if learned.shape[dim] != before or list(fresh.shape) != sizes:
            continue
        mean = learned.mean(dim=dim, keepdim=True).expand(sizes)
        return mean.clone() if dim == 0 else mean * (before / now)
    return None


def _for_classes(
    recipe: ModelRecipe, classes: Sequence[str], now_named: Mapping[str, str]
) -> tuple[ModelRecipe, tuple[int, ...]]:
    """Return the recipe for these classes, and the numbers of the networks that it keeps; none if there is one."""
    if not isinstance(recipe, GroupedRecipe):
        return recipe, ()
    found = regrouped(recipe.class_groups, classes, now_named)
    return recipe.model_copy(update={"class_groups": found.groups}), found.kept


def _number(name: str) -> int | None:
    """The number of the network that a weight belongs to; None if one network draws all classes."""
    found = _NETWORK.search(name)
    return None if found is None else int(found[1])


def _drawn_by(name: str, recipe: ModelRecipe) -> Sequence[str]:
    """The classes that the weight's network draws, if there are several networks."""
    number = _number(name)
    return recipe.class_groups.networks[number] if number is not None and isinstance(recipe, GroupedRecipe) else ()


def _of_networks(state: State, kept: Sequence[int]) -> dict[str, Tensor]:
    """Return the state without the networks that are not kept, and these numbered anew; all of it if kept is empty."""
    found = {}
    for name, tensor in state.items():
        number = _number(name) if kept else None
        if number is None:
            found[name] = tensor
        elif number in kept:
            found[_NETWORK.sub(f".networks.{kept.index(number)}.", name)] = tensor
    return found


def _changes(old: ImageShape, new: ImageShape, now_named: Mapping[str, str]) -> list[str]:
    changes = [f"{former} is called {name} now, by its images" for former, name in now_named.items()]
    if added := [name for name in new.classes if name not in old.classes]:
        changes.append(f"{counted(len(added), 'new class')}, starting as the mean of the others: {', '.join(added)}")
    if gone := [name for name in old.classes if name not in new.classes]:
        changes.append(f"without images now, so dropped: {', '.join(gone)}")
    if not added and not gone and old.classes != new.classes:
        changes.append("the classes are in another order")
    if old.channels != new.channels:
        changes.append(f"{new.channels} channels instead of {old.channels}")
    if old.image_size != new.image_size:
        changes.append(f"{new.image_size} pixels instead of {old.image_size}")
    return changes


def _differs(folder: Path, old: ImageShape, new: ImageShape, why: str) -> NotAdaptableError:
    return NotAdaptableError(
        f"{folder} cannot continue on other images: it draws {old}, the data has {new}, and this network depends on "
        f"the size of its images ({why}); train a model from scratch"
    )

"""Blind pairs: two pictures of two models under the same condition, and who drew which stays here until the vote."""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, starmap

from flows.registry.votes import VotedModel
from flows.serving.drawing import Plan, plan_of_classes
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.sources import Source
from genai_core import GenaiError

# Pairs that were shown and not answered: the oldest are forgotten. A page holds two of them.
MOST_OPEN = 10_000


class BlindError(GenaiError):
    """These models cannot be voted on; the message says why."""


@dataclass(frozen=True)
class Pair:
    """Two models under one condition: the same class and the same seed, sides by chance."""

    id: str
    class_name: str | None
    seed: int
    left: Generation
    right: Generation

    def plans(self) -> tuple[Plan, Plan]:
        """What to draw, left and right."""
        sides = (self.left, self.right)
        left, right = (plan_of_classes(side, 1, self.seed, self.class_name) for side in sides)
        return left, right


class Blind:
    """The models that are voted on, by their served names, and the pairs that wait for a vote."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._open: OrderedDict[str, tuple[Pair, VotedModel, VotedModel]] = OrderedDict()

    def new_pair(self, generations: Sequence[Generation]) -> Pair:
        """Choose two of the models, their sides, a class and a seed, all by chance.

        Raises ApiError 409 if no two of them can be compared: a promotion may have made two models one.
        """
        pairs = [pair for pair in combinations(generations, 2) if _why_not(*pair) is None]
        if not pairs:
            message = "nothing to compare: " + "; ".join(filter(None, starmap(_why_not, combinations(generations, 2))))
            raise ApiError(409, message, code="nothing_to_compare")
        left, right = secrets.SystemRandom().sample(secrets.choice(pairs), 2)
        classes = common_classes(left, right)
        return Pair(
            id=secrets.token_hex(16),
            class_name=secrets.choice(classes) if classes else None,
            seed=secrets.randbelow(2**32),
            left=left,
            right=right,
        )

    def keep(self, pair: Pair) -> None:
        """Remember a pair whose pictures are being shown, with the models as they were when they drew."""
        self._open[pair.id] = (pair, voted_model(pair.left), voted_model(pair.right))
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)

    def take(self, pair_id: str) -> tuple[Pair, VotedModel, VotedModel] | None:
        """Close a pair and return it: a pair takes one vote. None if it is unknown, answered, or too old."""
        return self._open.pop(pair_id, None)

    def put_back(self, found: tuple[Pair, VotedModel, VotedModel]) -> None:
        """Open a pair again, because its vote could not be kept."""
        self._open[found[0].id] = found


def common_classes(one: Generation, other: Generation) -> list[str]:
    """The classes that both draw; empty if one of them has none."""
    theirs = set(other.description["classes"])
    return [name for name in one.description["classes"] if name in theirs]


def voted_model(model: Generation) -> VotedModel:
    """What a vote says of a model."""
    values = model.description
    sampling = {name: option["value"] for name, option in values["sampling"].items()}
    return VotedModel(model.name, model.version, values["sha256"], values["family"], sampling)


def check_blind(sources: Sequence[Source]) -> None:
    """Raise BlindError unless there are at least two different models."""
    if len(sources) < 2:
        raise BlindError("--blind needs at least two models, such as: genai serve --blind prod candidate")
    known: dict[str, str] = {}
    for source in sources:
        if source.sha256 in known:
            raise BlindError(
                f"--blind: {known[source.sha256]} and {source.name} have the same weights ({source.sha256[:12]}), so "
                "there is nothing to compare"
            )
        known[source.sha256] = source.name


def check_classes(generations: Sequence[Generation]) -> None:
    """Raise BlindError if two models have no class in common, unless neither has any."""
    for one, other in combinations(generations, 2):
        if fault := _no_common_class(one, other):
            raise BlindError(f"--blind: {fault}")


def _why_not(one: Generation, other: Generation) -> str | None:
    """Why two models cannot be compared now; None if they can."""
    if one.description["sha256"] == other.description["sha256"]:
        return f"{one.name} and {other.name} have the same weights"
    return _no_common_class(one, other)


def _no_common_class(one: Generation, other: Generation) -> str | None:
    """A picture of any class beside one of a certain class would say nothing about the models."""
    has_classes = [bool(model.description["classes"]) for model in (one, other)]
    if any(has_classes) and not common_classes(one, other):
        what = "have no class in common" if all(has_classes) else "cannot be compared: only one of them has classes"
        return f"{one.name} and {other.name} {what}"
    return None

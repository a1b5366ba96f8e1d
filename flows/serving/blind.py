"""Blind pairs: two pictures of two models under the same condition, and who drew which stays here until the vote."""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from flows.registry.votes import VotedModel
from flows.serving.drawing import Plan, plan_of_classes
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
        left, right = (
            plan_of_classes(side, 1, self.seed, self.class_name if side.description["classes"] else None)
            for side in sides
        )
        return left, right


class Blind:
    """The models that are voted on, by their served names, and the pairs that wait for a vote."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._open: OrderedDict[str, tuple[Pair, VotedModel, VotedModel]] = OrderedDict()

    def new_pair(self, generations: Sequence[Generation]) -> Pair:
        """Choose two of the models, their sides, a class and a seed, all by chance."""
        left, right = secrets.SystemRandom().sample(list(generations), 2)
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
    """Raise BlindError if two models have classes, and none in common."""
    for index, one in enumerate(generations):
        for other in generations[index + 1 :]:
            both = one.description["classes"] and other.description["classes"]
            if both and not common_classes(one, other):
                raise BlindError(f"--blind: {one.name} and {other.name} have no class in common")

"""Is a retraining worth it? A plain function: figures in, a decision with its reasons out; no Prefect, no files."""

import math
from dataclasses import dataclass
from typing import Literal, TypeGuard

from genai_core.config import RetrainConfig

Action = Literal["skip", "finetune", "train"]


@dataclass(frozen=True)
class RetrainFacts:
    """What is known before a retraining. None: not known."""

    production: str | None  # the version; None: nothing is in production
    total_images: int  # in the train split now
    new_images: int  # of these, not in the dataset that production was trained on
    removed_images: int  # in that dataset, and no more
    new_classes: tuple[str, ...]
    lost_classes: tuple[str, ...]  # that production draws, and no image has any more
    other_shape: bool  # size or channels are not what production draws
    drift_over_floor: float | None  # FD of new against old images, over that of old against old, as many of each
    age_days: float | None  # since production was trained
    spent_device_hours: float  # by the retrainings of the last `budget_days`
    finetune_device_hours: float | None  # what one is expected to take, from the last one's cost
    train_device_hours: float | None
    asked: bool = False  # by a person: no share, distance or age is too small then


@dataclass(frozen=True)
class Decision:
    """What to do, and why: a sentence with its figures for each reason."""

    action: Action
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return "; ".join(self.reasons)


def decide(facts: RetrainFacts, policy: RetrainConfig) -> Decision:
    """Skip, fine-tune from production, or train from scratch.

    Training is for what fine-tuning cannot reach: no production, other classes or shape, much that changed or lies far
    off. A training that the budget does not allow becomes a fine-tuning where one is possible, else a skip.
    Raises ValueError for counts and hours that cannot be.
    """
    _check(facts)
    forced = _only_training_helps(facts)
    scratch = forced + _large_changes(facts, policy)
    if scratch:
        return _within_budget("train", scratch, facts, policy, can_finetune=not forced)
    small = _small_changes(facts, policy)
    if small:
        return _within_budget("finetune", small, facts, policy, can_finetune=True)
    return Decision("skip", _nothing_to_do(facts, policy))


def changed_share(facts: RetrainFacts) -> float:
    """New and removed images over all that there were or are; 0 when there are none."""
    all_images = facts.total_images + facts.removed_images
    return (facts.new_images + facts.removed_images) / all_images if all_images else 0.0


def _only_training_helps(facts: RetrainFacts) -> tuple[str, ...]:
    if facts.production is None:
        return ("nothing is in production yet",)
    shape = ("size or channels of the images are others now",) if facts.other_shape else ()
    classes = (f"new classes: {', '.join(facts.new_classes)}",) if facts.new_classes else ()
    lost = (f"classes without an image now: {', '.join(facts.lost_classes)}",) if facts.lost_classes else ()
    return shape + classes + lost


def _large_changes(facts: RetrainFacts, policy: RetrainConfig) -> tuple[str, ...]:
    return _changes(facts, policy.train_changed_share, policy.train_drift_over_floor)


def _small_changes(facts: RetrainFacts, policy: RetrainConfig) -> tuple[str, ...]:
    reasons = _changes(facts, policy.finetune_changed_share, policy.finetune_drift_over_floor)
    age, limit = facts.age_days, policy.max_age_days
    if limit is not None and _is_finite(age) and age >= limit:
        reasons += (f"production is {age:.1f} days old, the limit is {limit:g}",)
    return (*reasons, "asked for") if facts.asked else reasons


def _changes(facts: RetrainFacts, share_limit: float, drift_limit: float) -> tuple[str, ...]:
    reasons: tuple[str, ...] = ()
    share, drift = changed_share(facts), facts.drift_over_floor
    if share > 0 and share >= share_limit:
        reasons += (f"{share:.1%} of the images are new or gone, the limit is {share_limit:.1%}",)
    # Without a new image there is nothing that could have drifted; the figure would be an old one.
    if facts.new_images and _is_finite(drift) and drift >= drift_limit:
        reasons += (f"new images lie {drift:.2f} floors from the old ones, the limit is {drift_limit:g}",)
    return reasons


def _within_budget(
    wanted: Action, reasons: tuple[str, ...], facts: RetrainFacts, policy: RetrainConfig, *, can_finetune: bool
) -> Decision:
    left = policy.budget_device_hours - facts.spent_device_hours
    expected = {"train": facts.train_device_hours, "finetune": facts.finetune_device_hours}
    options: list[Literal["train", "finetune"]] = ["train"] if wanted == "train" else []
    options += ["finetune"] if can_finetune else []
    for action in options:
        hours = expected[action]
        if left > 0 and (not _is_finite(hours) or hours <= left):  # an unknown cost is found out by the first run
            smaller = () if action == wanted else (_too_dear(wanted, expected["train"], left),)
            return Decision(action, (*reasons, *smaller))
    last = options[-1]
    return Decision("skip", (*reasons, _too_dear(last, expected[last], left)))


def _too_dear(action: str, hours: float | None, left: float) -> str:
    cost = f"{hours:.2f}" if _is_finite(hours) else "an unknown number of"
    return f"but a {action} takes {cost} device hours, and {max(left, 0.0):.2f} are left of the budget"


def _nothing_to_do(facts: RetrainFacts, policy: RetrainConfig) -> tuple[str, ...]:
    share, drift = changed_share(facts), facts.drift_over_floor
    if share == 0:
        return ("the data are those that production was trained on",)
    reasons: tuple[str, ...] = (
        f"{share:.1%} of the images are new or gone, the limit is {policy.finetune_changed_share:.1%}",
    )
    if facts.new_images and _is_finite(drift):
        reasons += (f"new images lie {drift:.2f} floors away, the limit is {policy.finetune_drift_over_floor:g}",)
    elif facts.new_images:
        reasons += ("how far the new images lie from the old ones was not measured",)
    return reasons


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _check(facts: RetrainFacts) -> None:
    counts = {name: getattr(facts, name) for name in ("total_images", "new_images", "removed_images")}
    wrong = [f"{name}={value}" for name, value in counts.items() if value < 0]
    if facts.new_images > facts.total_images:
        wrong.append(f"new_images={facts.new_images} of total_images={facts.total_images}")
    if not math.isfinite(facts.spent_device_hours) or facts.spent_device_hours < 0:
        wrong.append(f"spent_device_hours={facts.spent_device_hours}")
    if wrong:
        raise ValueError(f"facts of a retraining that cannot be: {', '.join(wrong)}")

"""Whether a retraining is worth it: a plain function from figures to a decision with reasons; no Prefect, no files."""

import math
from dataclasses import dataclass
from typing import Literal, TypeGuard

from genai_core.config import RetrainConfig

Action = Literal["skip", "finetune", "train"]


@dataclass(frozen=True)
class RetrainFacts:
    """What is known before a retraining. None: unknown."""

    production: str | None  # the version; None: no model is in production
    total_images: int  # in the train split now
    new_images: int  # of these, not in production's dataset
    removed_images: int  # in production's dataset, but not now
    new_classes: tuple[str, ...]
    lost_classes: tuple[str, ...]  # that production generates, and no image has now
    other_shape: bool  # size or channels differ from what production generates
    drift_over_floor: float | None  # FD of new to old images, divided by that of old to old, with equal counts
    age_days: float | None  # since production was trained
    spent_device_hours: float  # by the retrainings of the last `budget_days`
    finetune_device_hours: float | None  # expected, from the last fine-tuning's cost
    train_device_hours: float | None  # expected, from the last training's cost
    requested: bool = False  # by a person: no share, distance or age is too small then


@dataclass(frozen=True)
class Decision:
    """What to do and why: each reason is a sentence with its figures."""

    action: Action
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return "; ".join(self.reasons)


def decide(facts: RetrainFacts, policy: RetrainConfig) -> Decision:
    """Skip, fine-tune from production, or train from scratch.

    Training is for what fine-tuning cannot reach: no production, other classes or shape, a large change or drift. If
    the budget is too small for a training, it becomes a fine-tuning if possible, else a skip.
    Raises ValueError for impossible counts and hours.
    """
    _check(facts)
    forced = _only_training_helps(facts)
    large = forced + _changes(facts, policy.train_changed_share, policy.train_drift_over_floor)
    if large:
        return _within_budget("train", large, facts, policy, can_finetune=not forced)
    small = _small_changes(facts, policy)
    if small:
        return _within_budget("finetune", small, facts, policy, can_finetune=True)
    return Decision("skip", _nothing_to_do(facts, policy))


def changed_share(facts: RetrainFacts) -> float:
    """New and removed images divided by all images, present and removed; 0 without images."""
    all_images = facts.total_images + facts.removed_images
    return (facts.new_images + facts.removed_images) / all_images if all_images else 0.0


def _only_training_helps(facts: RetrainFacts) -> tuple[str, ...]:
    if facts.production is None:
        return ("nothing is in production yet",)
    shape = ("size or channels of the images changed",) if facts.other_shape else ()
    classes = (f"new classes: {', '.join(facts.new_classes)}",) if facts.new_classes else ()
    lost = (f"classes that lost all images: {', '.join(facts.lost_classes)}",) if facts.lost_classes else ()
    return shape + classes + lost


def _small_changes(facts: RetrainFacts, policy: RetrainConfig) -> tuple[str, ...]:
    reasons = _changes(facts, policy.finetune_changed_share, policy.finetune_drift_over_floor)
    age, limit = facts.age_days, policy.max_age_days
    if limit is not None and _is_finite(age) and age >= limit:
        reasons += (f"production is {age:.1f} days old, the limit is {limit:g}",)
    return (*reasons, "requested") if facts.requested else reasons


def _changes(facts: RetrainFacts, share_limit: float, drift_limit: float) -> tuple[str, ...]:
    reasons: tuple[str, ...] = ()
    share, drift = changed_share(facts), facts.drift_over_floor
    if share > 0 and share >= share_limit:
        reasons += (f"{share:.1%} of the images are new or removed, the limit is {share_limit:.1%}",)
    # Without new images there is no drift; a figure would be from an earlier version.
    if facts.new_images and _is_finite(drift) and drift >= drift_limit:
        reasons += (f"new images lie {drift:.2f} floors from the old ones, the limit is {drift_limit:g}",)
    return reasons


def _within_budget(
    wanted: Literal["train", "finetune"],
    reasons: tuple[str, ...],
    facts: RetrainFacts,
    policy: RetrainConfig,
    *,
    can_finetune: bool,
) -> Decision:
    left = policy.budget_device_hours - facts.spent_device_hours
    expected = {"train": facts.train_device_hours, "finetune": facts.finetune_device_hours}
    options: list[Literal["train", "finetune"]] = ["train"] if wanted == "train" else []
    options += ["finetune"] if can_finetune else []
    for action in options:
        hours = expected[action]
        if left > 0 and (not _is_finite(hours) or hours <= left):  # the first run finds out an unknown cost
            over = () if action == wanted else (_over_budget(wanted, expected[wanted], left),)
            return Decision(action, (*reasons, *over))
    last = options[-1]
    return Decision("skip", (*reasons, _over_budget(last, expected[last], left)))


def _over_budget(action: str, hours: float | None, left: float) -> str:
    cost = f"{hours:.2f}" if _is_finite(hours) else "an unknown number of"
    return f"over budget: a {action} takes {cost} device hours, and {max(left, 0.0):.2f} are left"


def _nothing_to_do(facts: RetrainFacts, policy: RetrainConfig) -> tuple[str, ...]:
    share, drift = changed_share(facts), facts.drift_over_floor
    if share == 0:
        return ("production was trained on this data",)
    reasons: tuple[str, ...] = (
        f"{share:.1%} of the images are new or removed, the limit is {policy.finetune_changed_share:.1%}",
    )
    if facts.new_images and _is_finite(drift):
        reasons += (
            f"new images lie {drift:.2f} floors from the old ones, the limit is {policy.finetune_drift_over_floor:g}",
        )
    elif facts.new_images:
        reasons += ("the drift of the new images was not measured",)
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
        raise ValueError(f"impossible facts of a retraining: {', '.join(wrong)}")

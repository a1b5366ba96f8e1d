"""The retraining policy: each fact at, below and above its limit, and every combination against the rules' order."""

import itertools
import math
from dataclasses import replace

import pytest

from flows.retraining.policy import RetrainFacts, changed_share, decide
from genai_core.config import RetrainConfig

POLICY = RetrainConfig(
    finetune_changed_share=0.1,
    train_changed_share=0.5,
    finetune_drift_over_floor=2.0,
    train_drift_over_floor=5.0,
    max_age_days=30.0,
    budget_device_hours=10.0,
    budget_days=30.0,
)
CALM = RetrainFacts(
    production="v1.0.0",
    total_images=1_000,
    new_images=0,
    removed_images=0,
    new_classes=(),
    lost_classes=(),
    other_shape=False,
    other_labels=False,
    drift_over_floor=None,
    age_days=1.0,
    spent_device_hours=0.0,
    finetune_device_hours=1.0,
    train_device_hours=4.0,
)


@pytest.mark.parametrize(
    ("changes", "action", "reason"),
    [
        ({}, "skip", "production was trained on this data"),
        ({"skipped_images": 39}, "skip", "skipped 39 images of old classes: genai retrain --force"),
        ({"production": None}, "train", "nothing is in production yet"),
        ({"other_shape": True}, "train", "size or channels"),
        ({"other_labels": True}, "train", "production draws no classes, or the images have none any more"),
        ({"new_classes": ("owl",)}, "finetune", "new classes: owl"),
        ({"new_classes": ("owl",), "new_images": 200, "drift_over_floor": 99.0}, "finetune", "99.00 floors"),
        ({"new_classes": ("owl",), "new_images": 500}, "train", "50.0%"),
        ({"lost_classes": ("owl",)}, "finetune", "classes that lost all images: owl"),
        ({"new_images": 99}, "skip", "9.9% of the images are new or removed, the limit is 10.0%"),
        ({"new_images": 100}, "finetune", "10.0% of the images are new or removed, the limit is 10.0%"),
        ({"new_images": 499}, "finetune", "49.9%"),
        ({"new_images": 500}, "train", "50.0% of the images are new or removed, the limit is 50.0%"),
        ({"removed_images": 111}, "skip", "10.0% of the images are new or removed"),  # of 1,111: 9.99%
        ({"removed_images": 112}, "finetune", "10.1%"),
        (
            {"new_images": 1, "drift_over_floor": 1.99},
            "skip",
            "new images lie 1.99 floors from the old ones, the limit is 2",
        ),
        ({"new_images": 1, "drift_over_floor": 2.0}, "finetune", "new images lie 2.00 floors from the old ones"),
        ({"new_images": 1, "drift_over_floor": 5.0}, "train", "new images lie 5.00 floors from the old ones"),
        ({"new_images": 1, "drift_over_floor": math.nan}, "skip", "was not measured"),
        ({"new_images": 1, "drift_over_floor": math.inf}, "skip", "was not measured"),
        (
            {"new_images": 0, "drift_over_floor": 9.0},
            "skip",
            "production was trained on this data",
        ),  # from another time
        ({"age_days": 29.9}, "skip", "production was trained on this data"),
        ({"age_days": 30.0}, "finetune", "production is 30.0 days old, the limit is 30"),
        ({"age_days": None}, "skip", "production was trained on this data"),
        ({"requested": True}, "finetune", "requested"),
        ({"requested": True, "new_images": 600}, "train", "60.0%"),
        ({"production": None, "requested": True}, "train", "nothing is in production yet"),
        # Every action must be within the budget.
        ({"new_images": 500, "spent_device_hours": 6.0}, "train", "50.0%"),
        (
            {"new_images": 500, "spent_device_hours": 6.1},
            "finetune",
            "a train takes 4.00 device hours, and 3.90 are left",
        ),
        (
            {"new_images": 500, "spent_device_hours": 9.5},
            "skip",
            "a finetune takes 1.00 device hours, and 0.50 are left",
        ),
        ({"new_images": 100, "spent_device_hours": 9.0}, "finetune", "10.0%"),
        ({"new_images": 100, "spent_device_hours": 10.0}, "skip", "0.00 are left"),
        ({"new_images": 100, "spent_device_hours": 99.0}, "skip", "0.00 are left"),
        (
            {"other_shape": True, "spent_device_hours": 6.1},
            "skip",
            "a train takes 4.00",
        ),  # fine-tuning cannot replace it
        ({"new_images": 100, "finetune_device_hours": None}, "finetune", "10.0%"),  # the first run measures it
        ({"new_images": 100, "finetune_device_hours": None, "spent_device_hours": 10.0}, "skip", "an unknown number"),
        ({"total_images": 0}, "skip", "production was trained on this data"),
    ],
)
def test_each_fact_at_its_limit(changes: dict[str, object], action: str, reason: str) -> None:
    decision = decide(replace(CALM, **changes), POLICY)
    assert decision.action == action
    assert any(reason in sentence for sentence in decision.reasons), decision.reasons


def test_every_combination_follows_the_order_of_the_rules() -> None:
    """All 3 x 2 x 2 x 3 x 3 x 2 x 2 x 3 states: the strongest reason decides; then the budget limits it."""
    options = {
        "new_images": (0, 100, 500),
        "production": ("v1.0.0", None),
        "other_shape": (False, True),
        "drift_over_floor": (None, 2.0, 5.0),
        "age_days": (None, 1.0, 31.0),
        "requested": (False, True),
        "new_classes": ((), ("owl",)),
        "spent_device_hours": (0.0, 8.0, 10.0),
    }
    for values in itertools.product(*options.values()):
        facts = replace(CALM, **dict(zip(options, values, strict=True)))
        drift = (facts.drift_over_floor or 0.0) if facts.new_images else 0.0
        forced = facts.production is None or facts.other_shape
        new = bool(facts.new_classes)
        if forced or facts.new_images >= 500 or (drift >= 5.0 and not new):
            want = "train"
        elif new or facts.new_images >= 100 or drift >= 2.0 or (facts.age_days or 0) >= 30 or facts.requested:
            want = "finetune"
        else:
            want = "skip"
        left = POLICY.budget_device_hours - facts.spent_device_hours
        if want == "train" and left < 4.0:
            want = "skip" if forced else "finetune"
        if want == "finetune" and left < 1.0:
            want = "skip"
        decision = decide(facts, POLICY)
        assert decision.action == want, facts
        assert decision.reasons


def test_more_change_never_leads_to_a_smaller_action() -> None:
    order = ["skip", "finetune", "train"]
    for drift in (None, 1.0, 3.0, 6.0):
        ranks = [
            order.index(decide(replace(CALM, new_images=n, drift_over_floor=drift), POLICY).action)
            for n in range(0, 1_001, 20)
        ]
        assert ranks == sorted(ranks)


def test_the_changed_share_counts_new_and_removed_images() -> None:
    assert changed_share(replace(CALM, new_images=100, removed_images=1_000)) == pytest.approx(1_100 / 2_000)
    assert changed_share(replace(CALM, total_images=0)) == 0.0


def test_the_age_limit_is_optional() -> None:
    policy = POLICY.model_copy(update={"max_age_days": None})
    assert decide(replace(CALM, age_days=9_999.0), policy).action == "skip"


@pytest.mark.parametrize(
    "changes",
    [{"new_images": -1}, {"new_images": 1_001}, {"spent_device_hours": math.nan}, {"spent_device_hours": -1.0}],
)
def test_invalid_facts_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="invalid facts of a retraining: " + next(iter(changes))):
        decide(replace(CALM, **changes), POLICY)


@pytest.mark.parametrize(
    "changes", [{"train_changed_share": 0.05}, {"train_drift_over_floor": 1.5}, {"finetune_changed_share": 0.0}]
)
def test_inconsistent_thresholds_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        RetrainConfig(**{**POLICY.model_dump(), **changes})

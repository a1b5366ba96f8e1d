"""The gate: each rule at its limit, missing measurements, and all combinations of failures."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from flows.retraining.gate import GateFacts, ModelFigures, PairedDifference, gate, with_votes
from genai_core.config import GateConfig
from genai_core.preference.bradley_terry import preference

RULES = GateConfig(
    max_accuracy_drop=0.05,
    against="test",
    max_worse_share=0.3,
    max_memorised_share=0.02,
    min_recall_share=0.5,
    min_class_coverage=0.6,
    min_class_share=0.8,
    max_device_hours=5.0,
    min_preference=None,
    approval="auto",
    approval_timeout_s=60,
)
GOOD = ModelFigures(distance=1.5, scale=1.0, memorised_share=0.01, recall=0.4, class_coverage={"a": 0.9, "b": 0.7})
FACTS = GateFacts(
    candidate=GOOD,
    champion=replace(GOOD, distance=1.6, scale=1.1),
    difference=PairedDifference(-0.1, -0.2, 0.1),
    same_protocol=True,
    recall_of_real=0.6,
    classes=("a", "b"),
    device_hours=1.0,
    label_accuracy=0.97,
    production_label_accuracy=0.96,
)
NAMES = [
    "comparable",
    "labels consistent",
    "not worse",
    "sharp enough",
    "not memorised",
    "not collapsed",
    "no class lost",
    "affordable",
]


def candidate(**changes: object) -> dict[str, object]:
    return {"candidate": replace(GOOD, **changes)}


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({}, []),
        ({"same_protocol": False}, ["comparable"]),
        ({"label_accuracy": 0.95, "production_label_accuracy": 1.0}, []),
        ({"label_accuracy": 0.94, "production_label_accuracy": 1.0}, ["labels consistent"]),
        # Unmeasured labels fail the rule ...
        ({"label_accuracy": 0.97, "production_label_accuracy": None}, ["labels consistent"]),
        ({"label_accuracy": None, "production_label_accuracy": 0.9}, ["labels consistent"]),  # no classifier
        ({"label_accuracy": None, "production_label_accuracy": None}, ["labels consistent"]),
        ({"label_accuracy": math.nan, "production_label_accuracy": 0.9}, ["labels consistent"]),
        # ... unless there are no labels, or nothing to compare them with.
        ({"label_accuracy": None, "production_label_accuracy": None, "classes": ()}, []),
        ({"label_accuracy": 0.9, "production_label_accuracy": None, "champion": None, "difference": None}, []),
        ({"difference": PairedDifference(-0.3, -0.5, -0.1)}, []),
        ({"difference": PairedDifference(0.1, 0.0, 0.2)}, []),  # 0 is in it
        ({"difference": PairedDifference(0.1, 0.001, 0.2)}, ["not worse"]),
        ({"difference": PairedDifference(0.0, -0.33, 0.33)}, []),  # 30% of 1.1
        ({"difference": PairedDifference(0.0, -0.34, 0.34)}, ["sharp enough"]),
        ({"difference": PairedDifference(-9.0, -20.0, -0.01)}, []),  # wide, but better
        ({"difference": PairedDifference(5.0, 4.0, 6.0)}, ["not worse", "sharp enough"]),
        ({"difference": None}, ["not worse", "sharp enough"]),
        ({"difference": PairedDifference(math.nan, -0.1, 0.1)}, ["not worse"]),
        ({"difference": PairedDifference(0.0, -math.inf, 0.1)}, ["not worse", "sharp enough"]),
        ({"champion": replace(GOOD, distance=math.nan)}, ["not worse"]),
        ({"champion": replace(GOOD, scale=math.nan)}, ["sharp enough"]),
        ({"champion": replace(GOOD, scale=None)}, ["sharp enough"]),
        (candidate(distance=math.nan), ["not worse"]),
        (candidate(distance=None), ["not worse"]),
        (candidate(memorised_share=0.02), []),
        (candidate(memorised_share=0.021), ["not memorised"]),
        (candidate(memorised_share=None), ["not memorised"]),
        (candidate(memorised_share=math.nan), ["not memorised"]),
        (candidate(recall=0.3), []),
        (candidate(recall=0.29), ["not collapsed"]),
        (candidate(recall=None), ["not collapsed"]),
        ({"recall_of_real": None}, ["not collapsed"]),
        (candidate(class_coverage={"a": 0.9, "b": 0.6}), []),
        (candidate(class_coverage={"a": 0.9, "b": 0.59}), ["no class lost"]),
        (candidate(class_coverage={"a": 0.9}), ["no class lost"]),
        (candidate(class_coverage={"a": 0.9, "b": math.nan}), ["no class lost"]),
        ({"champion": replace(GOOD, class_coverage={"a": 0.9, "b": 0.874})}, []),  # 80% of it
        ({"champion": replace(GOOD, class_coverage={"a": 0.9, "b": 0.88})}, ["no class lost"]),
        ({"champion": replace(GOOD, class_coverage={"a": 0.9})}, []),  # a class that production does not generate
        ({"champion": replace(GOOD, class_coverage={"a": 0.9, "b": math.nan})}, ["no class lost"]),
        ({"classes": (), "champion": replace(GOOD, class_coverage={})}, ["no class lost"]),  # unmeasured groups
        ({"classes": (), **candidate(class_coverage={})}, ["no class lost"]),  # groups were not measured
        ({"classes": (), "champion": None, "difference": None, **candidate(class_coverage={})}, []),
        # Groups of similar images are compared only with production's.
        ({"classes": (), **candidate(class_coverage={"a": 0.75, "b": 0.56})}, []),
        ({"classes": (), **candidate(class_coverage={"a": 0.71, "b": 0.56})}, ["no class lost"]),
        ({"device_hours": 5.0}, []),
        ({"device_hours": 5.1}, ["affordable"]),
        ({"device_hours": None}, ["affordable"]),
        # Without a model in production, the rules about the candidate alone still apply.
        ({"champion": None, "difference": None, "same_protocol": False}, []),
        ({"champion": None, "difference": None, "alone": "it draws other classes"}, []),
        ({"champion": None, "difference": None, **candidate(distance=math.nan)}, ["not worse"]),
        ({"champion": None, "difference": None, **candidate(recall=0.0)}, ["not collapsed"]),
    ],
)
def test_each_rule_at_its_limit(changes: dict[str, object], failing: list[str]) -> None:
    verdict = gate(replace(FACTS, **changes), RULES)
    assert [rule.name for rule in verdict.rules] == NAMES
    assert [rule.name for rule in verdict.rules if not rule.passed] == failing
    assert verdict.passed == (not failing)
    assert all(rule.figures for rule in verdict.rules)
    assert [sentence.partition(":")[0] for sentence in verdict.failures] == failing


def test_an_impossible_label_check_says_how_to_skip_it() -> None:
    unknown = replace(FACTS, label_accuracy=None)
    (failure,) = gate(unknown, RULES).failures
    assert failure == (
        "labels consistent: not measured: no classifier was trained on the new labels; "
        "set extractor.kind to classifier, or set gate.max_accuracy_drop to 1 to skip this rule"
    )
    verdict = gate(unknown, RULES.model_copy(update={"max_accuracy_drop": 1.0}))
    assert verdict.passed
    assert verdict.rules[1].figures == "not checked: gate.max_accuracy_drop is 1"
    (failure,) = gate(replace(FACTS, production_label_accuracy=None), RULES).failures
    assert "metrics/finetuned.json of production's commit" in failure


def test_every_combination_of_failures_names_exactly_these() -> None:
    faults = {
        "comparable": {"same_protocol": False},
        "labels consistent": {"label_accuracy": 0.5, "production_label_accuracy": 0.9},
        "not worse": {"difference": PairedDifference(0.1, 0.05, 0.2)},
        "not memorised": {"memorised_share": 0.5},
        "not collapsed": {"recall": 0.01},
        "no class lost": {"class_coverage": {"a": 0.0, "b": 1.0}},
        "affordable": {"device_hours": 50.0},
    }
    own = {"memorised_share", "recall", "class_coverage"}
    for chosen in itertools.product([False, True], repeat=len(faults)):
        broken = [name for name, is_broken in zip(faults, chosen, strict=True) if is_broken]
        changes = {key: value for name in broken for key, value in faults[name].items()}
        model = replace(GOOD, **{key: value for key, value in changes.items() if key in own})
        facts = replace(FACTS, candidate=model, **{key: value for key, value in changes.items() if key not in own})
        assert [rule.name for rule in gate(facts, RULES).rules if not rule.passed] == broken


def test_the_verdict_is_readable() -> None:
    verdict = gate(replace(FACTS, **candidate(class_coverage={"a": 0.1, "b": 0.7})), RULES)
    assert verdict.failures == ("no class lost: covered real images: a 10.0%, at least 72.0% (production 90.0%)",)
    assert verdict.rules[NAMES.index("not worse")].figures == (
        "distance 1.5 against 1.6; difference -0.1, between -0.2 and +0.1: no worse than by chance"
    )
    wide = gate(replace(FACTS, difference=PairedDifference(0.0, -0.5, 0.5)), RULES).failures
    assert wide == (
        "sharp enough: at worst +0.5, allowed +0.33 (30% of 1.1); more images narrow the interval: "
        "evaluation.total_images, data.test_share",
    )
    alone = gate(replace(FACTS, champion=None, difference=None, alone="it draws other classes"), RULES)
    assert alone.rules[0].figures == "it draws other classes"
    assert not any("no model is in production" in rule.figures for rule in alone.rules)  # there is one


def test_false_alarms_and_misses_with_calibrated_intervals() -> None:
    """With 95% intervals of a normal difference, an equal model fails 2.5% of trials, one 3.3 sigma worse 91%."""
    generator = np.random.default_rng(0)
    sigma, trials = 0.1, 4_000

    def share_stopped(true_difference: float) -> float:
        values = generator.normal(true_difference, sigma, trials)
        differences = (PairedDifference(value, value - 1.96 * sigma, value + 1.96 * sigma) for value in values)
        place = NAMES.index("not worse")
        return sum(not gate(replace(FACTS, difference=d), RULES).rules[place].passed for d in differences) / trials

    assert share_stopped(0.0) == pytest.approx(0.025, abs=0.008)
    assert share_stopped(0.33) == pytest.approx(0.91, abs=0.02)


@pytest.mark.parametrize(
    ("votes", "least", "passes"),
    [
        ((40, 10, 0), 0.5, True),
        ((26, 24, 0), 0.5, False),  # more than half, and perhaps by chance
        ((26, 24, 0), 0.35, True),
        ((0, 0, 0), 0.5, False),
        ((0, 0, 0), 0.01, False),
        ((10, 40, 5), 0.3, False),
        (None, 0.5, True),  # no champion
    ],
)
def test_peoples_preference_is_decided_at_the_approval(
    votes: tuple[int, int, int] | None, least: float, passes: bool
) -> None:
    preferred = None if votes is None else preference(*votes)
    rules = RULES.model_copy(update={"min_preference": least, "approval": "human"})
    before = gate(replace(FACTS, preference=preferred), rules)
    assert (before.passed, before.rules[-1].name) == (True, "preferred")
    after = with_votes(before, preferred, least)
    assert after.passed is passes
    assert [rule.name for rule in after.rules] == [*NAMES, "preferred"]
    if votes == (40, 10, 0):
        assert after.rules[-1].figures == ("50 votes: 79% for the candidate, between 66% and 88%; at least 50% needed")


def test_without_the_rule_votes_change_nothing() -> None:
    assert [rule.name for rule in gate(replace(FACTS, preference=preference(0, 40, 0)), RULES).rules] == NAMES


def test_the_rule_needs_a_person_to_wait_for() -> None:
    with pytest.raises(ValueError, match=r"gate\.approval to human"):
        GateConfig(**{**RULES.model_dump(), "min_preference": 0.5})

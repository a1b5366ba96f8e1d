"""The facts of a retraining, and the order in which its decision is made."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.data.diff import DataDiff
from flows.data.versions import DataVersion
from flows.registry.read import ModelFacts
from flows.registry.read import Version as Registered
from flows.retraining import RetrainError
from flows.retraining.champion import ChampionShape
from flows.retraining.facts import (
    Situation,
    decision_of,
    facts_of,
    find_start_point,
    skip_if_rejected,
)
from flows.retraining.policy import decide
from flows.retraining.recipe import config_at
from flows.retraining.records import RetrainRecord
from flows.retraining.worktree import check_can_start
from genai_core.config import ConfigError
from genai_core.image_size import ImageSize
from tests.flows.conftest import DVC_WARNS, edit, set_parameter, shell

IMAGES = {
    "added_train": 30,
    "relabelled": 7,
    "relabelled_train": 5,
    "removed": 4,
    "removed_train": 2,
    "after": {"splits": {"train": 100, "test": 20}},
    "classes": [
        {"name": "cat", "before": 50, "after": 60},
        {"name": "dog", "before": 40, "after": 0},
        {"name": "owl", "before": 0, "after": 60},
    ],
}


def difference(images: dict[str, Any] | None, notes: tuple[str, ...] = ()) -> DataDiff:
    side = DataVersion("x", None, None, None, None, None)
    return DataDiff(side, side, images, {"over_floor": 2.5} if images else None, None, notes)


def test_facts_of_a_situation(tmp_path: Path, situation: Situation) -> None:
    facts, notes = facts_of(tmp_path, situation, difference(IMAGES), requested=False)
    assert notes == ()
    assert (facts.total_images, facts.new_images, facts.removed_images) == (
        100,
        35,
        2,
    )  # relabelled images count as new
    assert (facts.new_classes, facts.lost_classes, facts.other_shape) == (("owl",), ("dog",), False)
    assert not facts.other_labels
    unlabelled = {**IMAGES, "classes": [{"name": "cat", "before": 50, "after": 0}]}
    assert facts_of(tmp_path, situation, difference(unlabelled), requested=False)[0].other_labels
    assert facts.drift_over_floor == 2.5
    assert facts.age_days == pytest.approx(0.0, abs=0.1)
    assert decide(facts, situation.config.retrain).action == "train"


def test_all_images_count_as_new_if_productions_data_is_lost(tmp_path: Path, situation: Situation) -> None:
    facts, notes = facts_of(
        tmp_path, situation, difference(None, ("v0.0.1: data/prepared is nowhere",)), requested=False
    )
    assert facts.new_images == facts.total_images == 80
    assert notes == ("v0.0.1: data/prepared is nowhere", "so the number of new images is unknown, and all count as new")


def test_the_same_data_and_other_parameters(tmp_path: Path, situation: Situation) -> None:
    facts, _ = facts_of(tmp_path, situation, None, requested=False)
    assert decide(facts, situation.config.retrain).action == "skip"
    for size in (ImageSize.square(32), ImageSize(16, 24)):
        other = replace(situation, shape=ChampionShape(size, 1, ("cat", "dog"), 80))
        assert facts_of(tmp_path, other, None, requested=False)[0].other_shape


def test_hours_of_earlier_retrainings(tmp_path: Path, situation: Situation) -> None:
    assert facts_of(tmp_path, situation, None, requested=False)[0].train_device_hours is None
    record = RetrainRecord("rejected", "train", "a", "v0.0.1", "b", 1.5, "no", "c" * 40, datetime.now(UTC))
    facts, _ = facts_of(tmp_path, replace(situation, records=[record]), None, requested=False)
    assert (facts.spent_device_hours, facts.train_device_hours, facts.finetune_device_hours) == (1.5, 1.5, None)


def test_a_fine_tuning_to_a_few_step_model_counts_both_of_its_runs(tmp_path: Path, situation: Situation) -> None:
    costs = tmp_path / "metrics/cost"
    costs.mkdir(parents=True)
    hours = {"prepare": 0.5, "finetune": 2.0, "evaluate-finetuned": 0.25, "candidate": 0.125, "generate": 9.0}
    for stage, value in hours.items():
        (costs / f"{stage}.json").write_text(json.dumps({"seconds": 1.0, "device_hours": value}))
    config = situation.config
    for kind, foreseen in (("full", 2.875), ("few_step", 5.25)):
        finetune = config.finetune.model_copy(update={"kind": kind})
        other = replace(situation, config=config.model_copy(update={"finetune": finetune}))
        assert facts_of(tmp_path, other, None, requested=False)[0].finetune_device_hours == foreseen


def test_a_request_then_an_interrupted_retraining_then_the_policy_decides(tmp_path: Path, situation: Situation) -> None:
    facts, _ = facts_of(tmp_path, situation, None, requested=False)
    policy = situation.config.retrain
    assert decision_of(facts, policy, action="finetune", interrupted="train").action == "finetune"
    assert decision_of(facts, policy, action=None, interrupted="train").action == "train"
    assert decision_of(facts, policy, action=None, interrupted=None).action == "skip"


def test_a_rejection_is_reported_with_its_reason(tmp_path: Path, situation: Situation) -> None:
    assert skip_if_rejected(tmp_path, situation) is None
    record = RetrainRecord(
        "rejected", "train", "new.dir", "v0.0.1", situation.start.commit, 1.0, "not worse: 2 against 1"
    )
    found = skip_if_rejected(
        tmp_path, replace(situation, records=[replace(record, commit="d" * 40, at=datetime(2026, 11, 2, tzinfo=UTC))])
    )
    assert found is not None
    assert found.action == "skip"
    assert "on 2026-11-02 (ddddddd) and rejected: not worse: 2 against 1" in found.sentence


def test_data_that_was_rolled_back_is_not_retrained_automatically(tmp_path: Path, situation: Situation) -> None:
    facts = ModelFacts("m", "w", "gan", "d", "new.dir", "fd")
    version = Registered("v0.0.2", "c" * 40, datetime.now(UTC), "a test", "", facts)
    assert situation.production is not None
    back = replace(situation.production, action="rollback", why="greyish")
    registry = replace(situation.registry, versions=(version,))
    found = skip_if_rejected(tmp_path, replace(situation, registry=registry, production=back))
    assert found is not None
    assert found.action == "skip"
    assert "v0.0.2 was made from this data, and production was rolled back to v0.0.1: greyish" in found.sentence
    assert skip_if_rejected(tmp_path, replace(situation, registry=registry)) is None  # promoted, not rolled back
    other = replace(situation.start, raw="newer.dir")
    assert skip_if_rejected(tmp_path, replace(situation, registry=registry, production=back, start=other)) is None


@DVC_WARNS
def test_committed_data_with_uncommitted_code(done: Path) -> None:
    shell(done, "git add -A && git commit -q -m done")
    edit(done / "work.py", '"""What', '"""Somebody changes what')
    start = find_start_point(done)
    assert (start.commit, start.branch, start.uncommitted) == (shell(done, "git rev-parse HEAD").strip(), "main", None)
    assert start.notes == ("not committed, so not used: work.py",)
    check_can_start(done, start)


@DVC_WARNS
def test_uncommitted_data_is_used(done: Path) -> None:
    before = find_start_point(done).raw
    (done / "data/raw/new.txt").write_text("an image")
    shell(done, "dvc add -q data/raw")
    start = find_start_point(done)
    assert start.raw != before
    assert start.uncommitted == (done / "data/raw.dvc").read_bytes()
    assert "data/raw.dvc is not committed" in start.notes[0]


@DVC_WARNS
def test_no_branch_no_data_no_repository(done: Path, tmp_path: Path) -> None:
    shell(done, "git checkout -q --detach")
    with pytest.raises(RetrainError, match=r"HEAD is detached.*git switch BRANCH"):
        find_start_point(done)
    shell(done, "git checkout -q main && git rm -q --cached data/raw.dvc && git commit -q -m none && rm data/raw.dvc")
    with pytest.raises(RetrainError, match="there is no data yet"):
        find_start_point(done)
    with pytest.raises(RetrainError, match="not a git repository"):
        find_start_point(tmp_path)


@DVC_WARNS
def test_thresholds_of_the_commit_are_checked(done: Path) -> None:
    set_parameter(done, "retrain.train_changed_share", 0.001)
    config_at(done, "HEAD")  # uncommitted parameters are not used
    shell(done, "git commit -q -a -m nonsense")
    with pytest.raises(ConfigError, match=r"train_changed_share: got 0\.001; allowed: at least"):
        config_at(done, "HEAD")

"""Records of retrainings in commit messages: writing, reading and evaluating them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.retraining.branches import push_branches
from flows.retraining.records import (
    RetrainRecord,
    device_hours_at,
    device_hours_since,
    expected_device_hours,
    failed_hours,
    fetch_records,
    read_records,
    rejected_before,
    spent_device_hours,
)
from tests.flows.conftest import shell

RECORD = RetrainRecord(
    "rejected", "finetune", "abc.dir", "v0.0.1", "f" * 40, 0.25, "not worse: 2 against 1\n  and more"
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shell(tmp_path, "git init -q -b main && git commit -q --allow-empty -m first")
    return tmp_path


def commit(repository: Path, message: str) -> None:
    (repository / "message").write_text(message)
    shell(repository, "git commit -q --allow-empty -F message")


def test_round_trip(repository: Path) -> None:
    assert read_records(repository) == []
    commit(repository, RECORD.message("Rejected", "Retraining: is what this text is about\n\na table"))
    shell(repository, "git checkout -q -b other HEAD~1")
    first = replace(RECORD, result="promoted", champion="", reason="nothing is in production yet", recipe="a" * 64)
    commit(repository, first.message("Retrained", ""))
    shell(repository, "git checkout -q main")
    found = {record.result: record for record in read_records(repository)}
    assert set(found) == {"rejected", "promoted"}
    own = found["rejected"]
    assert own.reason == "not worse: 2 against 1 and more"
    assert replace(own, commit="", at=None, reason=RECORD.reason) == RECORD
    assert (found["promoted"].champion, found["promoted"].recipe) == ("", "a" * 64)
    assert own.commit == shell(repository, "git rev-parse HEAD").strip()
    assert own.at is not None
    assert abs(own.at - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.parametrize(
    "message", ["Retraining: lunch", "a\n\nRetraining: promoted", RECORD.message("a", "").replace("0.2500", "much")]
)
def test_commits_without_a_valid_record_are_skipped(repository: Path, message: str) -> None:
    commit(repository, message)
    assert read_records(repository) == []


def test_the_budget_counts_all_results_within_its_days() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    records = [
        replace(RECORD, at=now - timedelta(days=1)),
        replace(RECORD, result="failed", device_hours=1.0, at=now - timedelta(days=30)),
        replace(RECORD, device_hours=8.0, at=now - timedelta(days=31)),
    ]
    assert spent_device_hours(records, 30.0, now) == 1.25


def test_the_expected_cost_is_that_of_the_last_complete_retraining() -> None:
    failed = replace(RECORD, result="failed", device_hours=9.0)
    kept = replace(RECORD, device_hours=0.0)  # everything came from the cache
    assert expected_device_hours([failed, kept, RECORD], "finetune") == 0.25
    assert expected_device_hours([failed, kept, RECORD], "train") is None


def test_a_rejection_applies_to_the_same_data_champion_and_code() -> None:
    assert rejected_before([RECORD], "abc.dir", "v0.0.1", "f" * 40, not_asked) == RECORD
    for other in (("abd.dir", "v0.0.1", "f" * 40), ("abc.dir", "v0.0.2", "f" * 40), ("abc.dir", "v0.0.1", "e" * 40)):
        assert rejected_before([RECORD], *other, not_asked) is None
    assert rejected_before([replace(RECORD, result="failed")], "abc.dir", "v0.0.1", "f" * 40, not_asked) is None


def not_asked() -> str:
    raise AssertionError("reading a commit's graph takes a second, and nothing depends on it")


def test_a_rejection_applies_to_other_commits_with_the_same_recipe() -> None:
    own = replace(RECORD, recipe="a" * 64)
    asked = "abc.dir", "v0.0.1", "e" * 40
    assert rejected_before([RECORD, own], *asked, lambda: "a" * 64) == own
    assert rejected_before([RECORD, own], *asked, lambda: "b" * 64) is None
    assert rejected_before([own], "abd.dir", "v0.0.1", "e" * 40, not_asked) is None
    assert rejected_before([own], "abc.dir", "v0.0.2", "e" * 40, not_asked) is None


def test_hours_of_failed_attempts_are_counted_once() -> None:
    failed = replace(RECORD, result="failed")
    assert failed_hours([failed, failed, RECORD], "abc.dir", "v0.0.1", "f" * 40) == 0.5


def test_a_clone_knows_the_retrainings_of_another(repository: Path, tmp_path: Path) -> None:
    bare, clone = tmp_path / "bare", tmp_path / "clone"
    shell(repository, f"git clone -q --bare . {bare} && git remote add origin {bare} && git clone -q {bare} {clone}")
    fetch_records(clone, "origin")
    assert read_records(clone) == []
    shell(repository, "git checkout -q -b retrain/2026-11-28-abc")
    commit(repository, RECORD.message("Rejected", ""))
    assert push_branches(repository, ["retrain/2026-11-28-abc"]).startswith("pushed to origin")
    fetch_records(clone, "origin")
    assert [record.result for record in read_records(clone)] == ["rejected"]
    # Like `git fetch`: a second one brings nothing new, and a branch deleted at the remote is still known here.
    assert shell(clone, "git fetch 2>&1") == ""
    shell(bare, "git branch -q -D retrain/2026-11-28-abc")
    fetch_records(clone, "origin")
    assert len(read_records(clone)) == 1


def test_hours_of_the_stages_that_ran_since(tmp_path: Path) -> None:
    costs = tmp_path / "metrics/cost"
    costs.mkdir(parents=True)

    def write(stage: str, **cost: float) -> None:
        (costs / f"{stage}.json").write_text(json.dumps(cost))

    write("prepare", seconds=3600)
    write("train@gan", seconds=7200, device_hours=4.0)
    write("generate", seconds=3600)
    shell(tmp_path, "git init -q && git add -A && git commit -q -m first")
    assert device_hours_since(tmp_path, "HEAD") == 0.0
    write("prepare", seconds=1800)
    write("finetune", seconds=60, device_hours=0.25)
    (costs / "broken.json").write_text("")
    assert device_hours_since(tmp_path, "HEAD") == 0.75
    write("train@größe", seconds=60, device_hours=0.5)
    assert device_hours_since(tmp_path, "HEAD") == 1.25
    (costs / "train@größe.json").unlink()
    assert device_hours_at(tmp_path, "finetune", ["gan"]) == 0.75
    assert device_hours_at(tmp_path, "train", ["gan"]) == 4.75
    write("train@removed", seconds=3600)
    assert device_hours_at(tmp_path, "train", ["gan"]) == 4.75
    (costs / "finetune.json").unlink()
    assert device_hours_at(tmp_path, "finetune", ["gan"]) is None

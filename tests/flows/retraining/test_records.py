"""What a commit's message says of a retraining, and what is read of it again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.retraining.records import (
    Record,
    expected_device_hours,
    failed_hours,
    read_records,
    rejected_before,
    spent_device_hours,
)
from tests.flows.conftest import shell

RECORD = Record("rejected", "finetune", "abc.dir", "v0.0.1", "f" * 40, 0.25, "not worse: 2 against 1\n  and more")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shell(tmp_path, "git init -q -b main && git commit -q --allow-empty -m first")
    return tmp_path


def commit(repository: Path, message: str) -> None:
    (repository / "message").write_text(message)
    shell(repository, "git commit -q --allow-empty -F message")


def test_what_is_written_is_read(repository: Path) -> None:
    assert read_records(repository) == []
    commit(repository, RECORD.message("Rejected", "Retraining: is what this text is about\n\na table"))
    shell(repository, "git checkout -q -b other HEAD~1")
    first = replace(RECORD, result="promoted", champion="", reason="nothing is in production yet")
    commit(repository, first.message("Retrained", ""))
    shell(repository, "git checkout -q main")
    found = {record.result: record for record in read_records(repository)}
    assert set(found) == {"rejected", "promoted"}
    own = found["rejected"]
    assert own.reason == "not worse: 2 against 1 and more"
    assert replace(own, commit="", at=None, reason=RECORD.reason) == RECORD
    assert found["promoted"].champion == ""
    assert own.commit == shell(repository, "git rev-parse HEAD").strip()
    assert own.at is not None
    assert abs(own.at - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.parametrize(
    "message", ["Retraining: lunch", "a\n\nRetraining: promoted", RECORD.message("a", "").replace("0.2500", "much")]
)
def test_what_is_no_record_is_passed_over(repository: Path, message: str) -> None:
    commit(repository, message)
    assert read_records(repository) == []


def test_the_budget_counts_its_days_and_every_end() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    records = [
        replace(RECORD, at=now - timedelta(days=1)),
        replace(RECORD, result="failed", device_hours=1.0, at=now - timedelta(days=30)),
        replace(RECORD, device_hours=8.0, at=now - timedelta(days=31)),
    ]
    assert spent_device_hours(records, 30.0, now) == 1.25


def test_the_last_whole_one_says_what_the_next_will_take() -> None:
    failed = replace(RECORD, result="failed", device_hours=9.0)
    kept = replace(RECORD, device_hours=0.0)  # all of it was in the cache
    assert expected_device_hours([failed, kept, RECORD], "finetune") == 0.25
    assert expected_device_hours([failed, kept, RECORD], "train") is None


def test_a_rejection_holds_for_the_same_data_champion_and_code() -> None:
    assert rejected_before([RECORD], "abc.dir", "v0.0.1", "f" * 40) == RECORD
    for other in (("abd.dir", "v0.0.1", "f" * 40), ("abc.dir", "v0.0.2", "f" * 40), ("abc.dir", "v0.0.1", "e" * 40)):
        assert rejected_before([RECORD], *other) is None
    assert rejected_before([replace(RECORD, result="failed")], "abc.dir", "v0.0.1", "f" * 40) is None


def test_hours_of_failures_are_counted_once() -> None:
    failed = replace(RECORD, result="failed")
    assert failed_hours([failed, failed, RECORD], "abc.dir", "v0.0.1", "f" * 40) == 0.5

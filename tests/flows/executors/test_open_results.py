"""What an open run has at the DVC remote: results that outlive its coordinator, until the run is completed or old."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.data.stores import add_default_remote, opened_remote
from flows.executors.checkpoints import RemoteCheckpoints
from flows.executors.open_results import OpenResults, delete_forgotten
from flows.executors.order import Outcome
from flows.runs.publication import KEEP_DAYS
from tests.flows.conftest import DVC_WARNS

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

pytestmark = DVC_WARNS

DONE = Outcome("k" * 32, 2, {"cmd": "python work.py", "outs": []}, ran=True, seconds=1.5, machine={"host": "beta"})


@pytest.fixture
def store(fresh: Path) -> "Iterator[HashFileDB]":
    add_default_remote(fresh, str(fresh.parent / "store"))
    with opened_remote(fresh, None) as (_, store):
        yield store


def there(workspace: Path) -> list[str]:
    own = workspace.parent / "store/genai"
    return sorted(path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file())


def checkpoint(store: "HashFileDB", workspace: Path, key: str) -> None:
    file = workspace.parent / key / "train-0123" / "step-1.pt"
    file.parent.mkdir(parents=True)
    file.write_text("state")
    RemoteCheckpoints(store, key, file.parents[1]).send()


def test_a_result_is_there_until_its_run_is_completed(fresh: Path, store: "HashFileDB") -> None:
    results, others = OpenResults(store, "one"), OpenResults(store, "two")
    results.close()  # nothing is there yet
    assert results.find(DONE.key) is None
    results.add(DONE)
    others.add(DONE)
    assert results.find(DONE.key) == DONE
    assert results.find("f" * 32) is None
    checkpoint(store, fresh, DONE.key)  # from a worker that was given up
    checkpoint(store, fresh, "of another job")
    results.close()
    assert results.find(DONE.key) is None
    assert there(fresh) == ["checkpoints/of another job/train-0123/step-1.pt", f"results/two/{DONE.key}"]
    assert not (fresh.parent / "store/genai/results/one").exists()


def test_a_file_that_is_no_result_counts_as_none(fresh: Path, store: "HashFileDB") -> None:
    folder = fresh.parent / "store/genai/results/one"
    folder.mkdir(parents=True)
    failed = Outcome("b" * 32, 1, failure="status 1")
    for key, text in (("a" * 32, '{"key": "a", "colour": 1}'), ("b" * 32, failed.text()), ("c" * 32, DONE.text())):
        (folder / key).write_text(text)
        assert OpenResults(store, "one").find(key) is None


def test_what_nobody_continues_is_deleted_in_the_end(fresh: Path, store: "HashFileDB") -> None:
    OpenResults(store, "one").add(DONE)
    OpenResults(store, "two").add(DONE)
    checkpoint(store, fresh, "old")
    checkpoint(store, fresh, "new")
    long_ago = time.time() - (KEEP_DAYS + 1) * 86_400
    for name in (f"results/one/{DONE.key}", "checkpoints/old/train-0123/step-1.pt"):
        os.utime(fresh.parent / "store/genai" / name, (long_ago, long_ago))
    delete_forgotten(store)
    assert there(fresh) == ["checkpoints/new/train-0123/step-1.pt", f"results/two/{DONE.key}"]

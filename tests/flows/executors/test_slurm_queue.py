"""What a coordinator of a run on Slurm finds of the one before it. Slurm's commands are scripts here.

tests/flows/executors/test_engines.py runs jobs on a real Slurm, where there is one.
"""

from pathlib import Path

import pytest

from flows.executors.order import Order
from flows.executors.remote_place import OWN_GPUS
from flows.executors.shares import Share
from flows.executors.slurm_engine import SlurmEngine
from flows.executors.software import Software
from flows.runs.job import Job, key_of
from genai_core.config import ConfigError
from tests.flows.executors.test_pools import compute

COMMANDS = {
    # Each job is a line of the queue, as squeue prints it.
    "sbatch": 'cat > "$Q.script"; n=$(cat "$Q.n"); echo $((n + 1)) > "$Q.n"; '
    'echo "$n|RUNNING|node" >> "$Q"; echo "$n;cluster"',
    "squeue": 'cat "$Q"',
    "scancel": 'echo "$1" >> "$Q.cancelled"',
}


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that has the queue."""
    queue, programs = tmp_path / "queue", tmp_path / "bin"
    programs.mkdir()
    for name, text in COMMANDS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    queue.write_text("")
    (tmp_path / "queue.n").write_text("7\n")
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("Q", str(queue))
    return queue


def order(stage: str) -> Order:
    return Order(Job("one", "commit", stage, {"cmd": stage}, 3), "", "", "", (), {}, Software("", "", {}))


def test_the_living_jobs_of_a_dead_coordinator_are_found_and_unknown_ones_cancelled(
    queue: Path, tmp_path: Path
) -> None:
    first = SlurmEngine(compute().slurm, "genai-one", tmp_path / "slurm")
    for stage in ("prepare", "train", "select"):
        first.submit(order(stage), Share(1, 0.0, 0, None))
    other = SlurmEngine(compute().slurm, "genai-one", tmp_path / "another checkout")
    other.submit(order("report"), Share(1, 0.0, 0, None))
    queue.write_text(queue.read_text().replace("7|RUNNING", "7|COMPLETED"))
    (files,) = (path.parent for path in (tmp_path / "slurm").glob("*/number") if path.read_text() == "9")
    (files / "order.json").write_text("{}")  # of another version of this code
    left = SlurmEngine(compute().slurm, "genai-one", tmp_path / "slurm").left()
    assert f"export {OWN_GPUS}=1" in Path(f"{queue}.script").read_text()
    assert list(left) == [key_of(order("train").job)]
    (found, attempt) = left[key_of(order("train").job)]
    assert found == order("train")
    assert Path(f"{queue}.cancelled").read_text().split() == ["10", "9"]
    (events,) = (path.parent for path in (tmp_path / "slurm").glob("*/number") if path.read_text() == "8")
    (events / "events").write_text('["line", "trains"]\n')
    assert attempt.news(0.0) == [["line", "trains"]]


def test_a_queue_that_does_not_answer_is_an_error_before_the_run(queue: Path, tmp_path: Path) -> None:
    queue.unlink()
    with pytest.raises(ConfigError, match=r"Slurm does not answer: squeue: cat: .*No such file"):
        SlurmEngine(compute().slurm, "genai-one", tmp_path / "slurm").left()

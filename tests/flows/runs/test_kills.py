"""A few kills of benchmarks/kills.py: the results equal those of undisturbed runs, and nothing is left."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill_choices import Values, set_values
from benchmarks.kill_sweep import Sweep
from benchmarks.killed_runs import outcome_of
from tests.flows.conftest import Server, shell

# SIGTERM during a training; SIGKILL of the command during another, and of all processes while recording.
KILLS, SEED = 3, 2485


def test_kills_change_no_result_and_leave_nothing(
    fresh: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server.url)  # faster than a temporary server per run

    def undisturbed(values: Values) -> dict[str, Any] | None:
        other = tmp_path / f"undisturbed-{values}"
        if not other.exists():
            shutil.copytree(original, other, symlinks=True)
            set_values(other, values)
            shell(other, "dvc repro --quiet")
        return outcome_of(other)

    original = Path(shutil.copytree(fresh, tmp_path / "original", symlinks=True))
    sweep = Sweep(fresh, tmp_path / "sweep", SEED, undisturbed)
    sweep.run(KILLS)
    assert not sweep.faults
    assert [kill.equal for kill in sweep.kills] == [True] * KILLS
    assert len({kill.kind for kill in sweep.kills}) == KILLS

"""A few of the kills of benchmarks/kills.py: results are those of undisturbed work, and nothing is left."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill_choices import Values, set_values
from benchmarks.kill_sweep import Sweep
from benchmarks.killed_runs import outcome_of
from tests.flows.conftest import Server, shell

# SIGTERM in a training, SIGKILL of the command in another, and of all its processes while a result is recorded.
KILLS, SEED = 3, 2485


def test_kills_change_no_result_and_leave_nothing(
    fresh: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server.url)  # quicker than a temporary one for each run

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

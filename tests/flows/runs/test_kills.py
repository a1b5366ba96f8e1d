"""A few of the kills of benchmarks/kills.py: results are those of undisturbed work, and nothing is left."""

import shutil
from pathlib import Path
from typing import Any

from benchmarks.kill_sweep import Sweep, Values, set_values
from benchmarks.killed_runs import outcome_of
from tests.flows.conftest import shell

KILLS, SEED = 6, 46


def test_kills_change_no_result_and_leave_nothing(fresh: Path, tmp_path: Path) -> None:
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
    assert len({kill.kind for kill in sweep.kills}) > 2

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_rooms import ROOT

ROW = {"data": "0123456789", "committed": "2026-01-31T12:00:00", "metric": "fd_classifier"}
ROW |= {"value": "2.5", "low": "2.0", "high": "3.0"}


def trend(folder: Path, row: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    (folder / "quality.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    command = [sys.executable, "-m", "tasks.trend", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_draws_a_chart_and_a_page(tmp_path: Path) -> None:
    answer = trend(tmp_path, ROW)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")
    assert "fd_classifier by data version" in (tmp_path / "quality.html").read_text()


@pytest.mark.parametrize("column", ["data", "value", "metric"])
def test_missing_column_is_named(tmp_path: Path, column: str) -> None:
    answer = trend(tmp_path, {name: value for name, value in ROW.items() if name != column})
    assert answer.returncode == 2
    assert answer.stderr == f"trend: {tmp_path}/quality.csv: has no column '{column}'\n"

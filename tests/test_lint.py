"""The files that `make lint` checks."""

import subprocess
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("genai_core", "tasks", "flows", "tests", "benchmarks")


def test_every_python_file_of_the_project_is_linted():
    """Excluding a bare name would exclude every folder with that name, at any depth."""
    ruff = Path(sysconfig.get_path("scripts")) / "ruff"
    shown = subprocess.run([ruff, "check", "--show-files", "."], cwd=ROOT, capture_output=True, text=True, check=True)
    looked_at = {Path(line) for line in shown.stdout.splitlines()}
    assert {path for room in ROOMS for path in (ROOT / room).rglob("*.py")} <= looked_at

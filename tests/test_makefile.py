"""The files that `make clean` deletes."""

import shutil
from pathlib import Path

from tests.flows.conftest import shell
from tests.test_rooms import ROOT


def test_clean_keeps_the_files_that_runs_need(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    gone = (
        ".venv/bin/genai",
        ".venv-docs/bin/zensical",
        "site/index.html",
        ".cache/a",
        ".mypy_cache/a",
        ".pytest_cache/a",
        ".ruff_cache/a",
    )
    kept = (
        ".genai/checkpoints/train@gan/1.pt",
        ".genai/worktrees/x/dvc.lock",
        ".genai/services.json",
        "models/a",
        ".dvc/a",
    )
    for name in (*gone, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    shell(tmp_path, "make clean")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {*kept, "Makefile"}

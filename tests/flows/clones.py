"""Workspaces with much data, their clones, and the contents of both."""

from pathlib import Path

from tests.flows.conftest import shell


def add_many(workspace: Path, count: int) -> None:
    for number in range(count):
        (workspace / "data" / "raw" / f"many-{number}.txt").write_text(f"one of many {number}")
    shell(workspace, "dvc add -q data/raw && git add -A && git commit -q -m many")


def fresh_clone(workspace: Path, folder: Path) -> Path:
    shell(workspace.parent, f"git clone -q {workspace} {folder}")
    return folder


def contents(workspace: Path) -> dict[str, bytes]:
    files = [path for top in ("data/raw", "out") for path in (workspace / top).rglob("*") if path.is_file()]
    return {str(path.relative_to(workspace)): path.read_bytes() for path in files}

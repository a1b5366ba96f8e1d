"""Find inputs that are in the workspace but not in the run's snapshot, before any stage starts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.git import GitError, git, printable
from flows.graph import Graph, GraphError, dvc_stages, path_of, stage_name
from flows.plan import Plan
from flows.runs.snapshot import DATA, MAX_NEW_BYTES, Snapshot

if TYPE_CHECKING:
    from dvc.dependency.base import Dependency
    from dvc.repo import Repo
    from dvc.stage import Stage


@dataclass(frozen=True)
class _Checked:
    """The contents of a snapshot. top: git's folder; tracked: its files and their folders; made: DVC's outputs."""

    top: Path
    tracked: frozenset[Path]
    made: tuple[Path, ...]
    snapshot: Snapshot


def check_inputs(repo: "Repo", graph: Graph, plan: Plan, snapshot: Snapshot) -> None:
    """Raise GraphError for the first input of a stage that is here but not in the run's checkout.

    Inputs that are missing here too are left to the stage's own error: another stage may still make them.
    """
    checked = _checked(repo, snapshot)
    may_run = {
        node.name for node in graph.stages if any(plan[name].action != "keep" for name in (node.name, *node.upstream))
    }
    for stage, _ in dvc_stages(repo):
        if stage_name(stage) not in may_run or stage.is_data_source:
            continue
        for dep in _files(stage):
            if fault := _fault(repo, dep, checked):
                raise GraphError(f"{stage_name(stage)}: {fault}")


def _checked(repo: "Repo", snapshot: Snapshot) -> _Checked:
    top = Path(git(Path(repo.root_dir), "rev-parse", "--show-toplevel").strip())
    names = git(top, "ls-tree", "-r", "-z", "--name-only", "--full-tree", snapshot.tree).split("\0")
    files = [top / name for name in names if name]
    tracked = frozenset(files).union(*({*file.parents} for file in files))
    return _Checked(top, tracked, tuple(Path(out.fs_path) for out in repo.index.outs), snapshot)


def _files(stage: "Stage") -> Iterator["Dependency"]:
    from dvc.dependency.param import ParamsDependency

    for dep in stage.deps:
        if not isinstance(dep, ParamsDependency) and dep.protocol == "local":
            yield dep


def _fault(repo: "Repo", dep: "Dependency", checked: _Checked) -> str | None:
    """Why an input, or a file in it, is not in the run's checkout, and what to do; None if nothing is missing."""
    workspace, path, name = Path(repo.root_dir), Path(dep.fs_path), path_of(dep)
    if not dep.exists or any(path == out or out in path.parents for out in checked.made):
        return None
    for left_out in checked.snapshot.left_out:
        file = workspace / left_out
        if path == file or (path in file.parents and not repo.dvcignore.is_ignored_file(str(file))):
            return (
                f"its input {printable(left_out)} is not in the run's snapshot because of its size: it is new "
                f"and larger than {MAX_NEW_BYTES / 1e6:.0f} MB. Track it: git add, or dvc add for data"
            )
    if path in checked.tracked or any(path in out.parents for out in checked.made):
        return None
    if not path.is_relative_to(checked.top):
        return (
            f"its input {printable(name)} is outside this repository, but a run works on a snapshot of the repository. "
            f"Copy it into the workspace, or let DVC track a copy there: dvc import-url {printable(name)}"
        )
    if any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(checked.top)):
        return None  # the link leads there in the checkout too
    return f"its input {printable(name)} is not in the run's snapshot: {_why_untracked(workspace, name)}"


def _why_untracked(workspace: Path, name: str) -> str:
    if _is_ignored(workspace, name):
        return "git ignores it, and DVC does not track it. Remove it from .gitignore, or track it: dvc add"
    if f"{name}/".startswith(DATA):
        return f"a snapshot has no new files from {DATA}, and DVC does not track it. Track it: dvc add, or git add"
    return "neither git nor DVC tracks it. Track it: git add, or dvc add for data"


def _is_ignored(workspace: Path, name: str) -> bool:
    try:
        git(workspace, "check-ignore", "--quiet", "--", name)
    except GitError:  # status 1: it is not
        return False
    return True

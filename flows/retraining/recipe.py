"""A retraining's recipe: the code and parameters of a commit that its result depends on, besides data and champion.

Commits that differ only in a README, in the flows or in `compute:` give the same candidate. So after such an edit, an
interrupted retraining is resumed, and a rejected one is not tried again.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.dvc_lock import overlap
from flows.git import git
from flows.graph import dvc_stages, open_repo, stage_name
from flows.registry.read import MODEL
from flows.scratch import scratch_folder
from genai_core.config import PARAMS_FILE, Config, load_config

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

_CANDIDATE = MODEL.rpartition("/")[2]
# Not a stage: measures candidate and champion. flows/measuring/comparison.py runs it in the retraining's worktree.
_COMPARISON = ("tasks/compare_models.py", "tasks/gate_values.py")
_GATE = ("flows/retraining/gate.py",)
# A retraining sets this parameter itself.
_START = ("finetune", "start")


def config_at(workspace: Path, commit: str) -> Config:
    """Load and validate params.yaml of a commit. Raises ConfigError or GitError."""
    text = git(workspace, "show", f"{commit}:./{PARAMS_FILE}")
    with scratch_folder(workspace, "config") as folder:
        path = folder / PARAMS_FILE
        path.write_text(text)
        return load_config(path)


@cache
def recipe_at(workspace: Path, commit: str) -> str:
    """Hash of what makes and measures a candidate, by DVC's graph at a commit. Takes a second.

    Raises GraphError or GitError.
    """
    with open_repo(workspace) as repo:
        ((stages, paths),) = [_graph(repo) for _ in repo.brancher(revs=[commit], workspace=False)]
    return _hash([stages, _contents(workspace, commit, {*paths, *_COMPARISON})])


def verdict_recipe_at(workspace: Path, commit: str) -> str:
    """Hash of the recipe and of the gate's rules and code. Raises GraphError, GitError or ConfigError."""
    gate = config_at(workspace, commit).gate.model_dump(mode="json")
    return _hash([recipe_at(workspace, commit), gate, _contents(workspace, commit, _GATE)])


def _graph(repo: "Repo") -> tuple[list[Any], set[str]]:
    """Command and parameters of every stage not downstream of the candidate, and the git-tracked paths they read."""
    from dvc.dependency.param import ParamsDependency

    ordered = dvc_stages(repo)
    made = [_path(repo, out.fs_path) for stage, _ in ordered for out in stage.outs]
    after: set[Stage] = set()
    stages: list[Any] = []
    paths: set[str] = set()
    for stage, upstream in ordered:
        if any(other in after or stage_name(other) == _CANDIDATE for other in upstream):
            after.add(stage)
        elif not stage.is_data_source:
            stages.append([stage_name(stage), stage.cmd, _parameters(stage)])
            read = {_path(repo, dep.fs_path) for dep in stage.deps if not isinstance(dep, ParamsDependency)}
            paths |= {path for path in read if not any(overlap(path, out) for out in made)}
    return sorted(stages, key=lambda entry: str(entry[0])), paths


def _parameters(stage: "Stage") -> dict[str, Any]:
    from dvc.dependency.param import ParamsDependency

    found: dict[str, Any] = {}
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            found.update(dep.read_params())
    found.pop(".".join(_START), None)
    section, key = _START
    if isinstance(found.get(section), dict):
        found[section] = {name: value for name, value in found[section].items() if name != key}
    return found


def _contents(workspace: Path, commit: str, paths: Iterable[str]) -> list[str]:
    """git's hash of each of these files and folders that exist in the commit."""
    return git(workspace, "ls-tree", "-z", commit, "--", *sorted(paths)).split("\0")


def _path(repo: "Repo", path: str) -> str:
    return Path(os.path.relpath(path, repo.root_dir)).as_posix()


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()

"""Compare two models with the same protocol. A child process measures, because flows do not import torch."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.data.stores import Stores
from flows.dvc_lock import lock_at
from flows.graph import open_repo
from flows.process import run_module
from flows.registry.model_names import ModelNameError, name_commit, name_model
from flows.registry.read import MODEL
from flows.scratch import scratch_folder
from genai_core import GenaiError

PLACE = Path(".genai/compare")  # below the workspace
COMPARISON_FILE = "comparison.json"


class ComparisonError(GenaiError):
    """The models cannot be compared; the message says why."""


@dataclass(frozen=True)
class Side:
    """A model to compare: its name for people, and its folder."""

    name: str
    folder: Path


def compare(
    workspace: Path, a: str, b: str, out: Path | None = None, on_line: Callable[[str], None] = print
) -> dict[str, Any]:
    """Compare two models by name (find_model), and write `out`, by default PLACE in the workspace.

    Return the content of comparison.json (docs/evaluation.md). Raises ComparisonError, GitError or RemoteError.
    """
    with scratch_folder(workspace, "models") as place:
        sides = [Side(name, find_model(workspace, name, place / letter)) for letter, name in (("a", a), ("b", b))]
        return compare_folders(workspace, sides[1], sides[0], out or workspace / PLACE, on_line)


def compare_folders(
    workspace: Path,
    candidate: Side,
    champion: Side | None,
    out: Path,
    on_line: Callable[[str], None] = print,
    *,
    or_alone: bool = False,
) -> dict[str, Any]:
    """Measure both with the workspace's extractor and reference; without a champion, only the candidate.

    or_alone: measure only the candidate, too, if the champion's classes or image size differ from the workspace's data.
    If it fails, `out` is unchanged. Raises ComparisonError with the task's error line.
    """
    command = ["tasks.compare_models", str(candidate.folder), f"--name={candidate.name}"]
    if champion is not None:
        command += [f"--against={champion.folder}", f"--against-name={champion.name}"]
        command += ["--or-alone"] if or_alone else []
    output: list[str] = []

    def keep(line: str) -> None:
        output.append(line)
        on_line(line)

    with scratch_folder(workspace, "compared") as scratch:
        new = scratch / "new"
        command += [f"--out={new.relative_to(workspace.resolve())}"]
        status = run_module(command, folder=workspace, on_line=keep)
        if status != 0:
            raise ComparisonError(output[-1] if output else f"tasks.compare_models failed with status {status}")
        values: dict[str, Any] = json.loads((new / COMPARISON_FILE).read_text())
        replace_files(new, out)
    return values


def replace_files(new: Path, out: Path) -> None:
    """Put the files of `new` into `out`, each by a rename, comparison.json last. Other files in `out` remain."""
    out.mkdir(parents=True, exist_ok=True)
    for name in sorted((path.name for path in new.iterdir()), key=lambda name: (name == COMPARISON_FILE, name)):
        complete = out / f".{name}.{os.getpid()}"  # `out` may be on another file system: copy, then rename
        try:
            shutil.copyfile(new / name, complete)
            os.replace(complete, out / name)
        finally:
            complete.unlink(missing_ok=True)


def find_model(workspace: Path, name: str, into: Path) -> Path:
    """The folder of the model that `name` stands for. A model of another commit is laid out in `into`.

    name: as in flows/registry/model_names.py. Raises ComparisonError, which says where the model was searched for.
    """
    try:
        named = name_model(workspace, name)
    except ModelNameError as error:
        raise ComparisonError(str(error)) from None
    return named.folder or model_of(workspace, name, into)


def model_of(workspace: Path, name: str, into: Path) -> Path:
    """models/candidate of `prod`, a registered version or a git revision, laid out in `into`, which must not exist.

    Does not change the working tree. Raises ComparisonError, RemoteError.
    """
    try:
        commit = name_commit(workspace, name).commit
    except ModelNameError as error:
        raise ComparisonError(str(error)) from None
    assert commit is not None
    model = lock_at(workspace, commit).output(MODEL)
    if model is None:
        raise ComparisonError(f"{name}: dvc.lock at {commit[:7]} has no {MODEL}; commit after `genai run`")
    with open_repo(workspace) as repo:
        stores = Stores(repo)
        files = stores.listing(model.md5)
        lost = None if files is None else stores.lay_out(files, files, into)
    if files is None or lost:
        raise ComparisonError(
            f"{name}: {MODEL} of {commit[:7]} ({model.md5}) is neither in DVC's cache nor at the remote; "
            "push it from where it was made (genai data push)"
        )
    return into

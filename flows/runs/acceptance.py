"""Bring a run's results into the workspace if their inputs there are still those of the run and nothing would be lost.

While stages run, no other code writes the workspace. Other results stay in DVC's cache and run-cache. `genai run`
restores them once the inputs are the same again.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.graph import GraphError, dvc_stages, one_line, open_repo, path_of, stage_name
from flows.runs.job import Result, changed_inputs, inputs_of
from flows.workspace import changing
from genai_core.config import ConfigError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

MAX_NAMED = 3
_NOT_WRITTEN = "this checkout cannot be written: "
PATIENCE_S = 120.0  # if `genai data add` takes longer, the next `genai run` restores the results

# The hash at each output's path when the run was planned; None: nothing was there.
Before = Mapping[str, str | None]


@dataclass(frozen=True)
class Verdict:
    """Whether a stage's result is in the workspace now. reason: why it is not."""

    stage: str
    reason: str | None


def accept(workspace: Path, place: Path, results: Iterable[tuple[Result, Before]]) -> list[Verdict]:
    """Accept or leave each result, in the given order: upstream stages first.

    place: the checkout in which they were made, for outputs that DVC does not cache. If the workspace cannot be read,
    as in the middle of an edit, or written, nothing is accepted, and each verdict says why.
    """
    from dvc.exceptions import DvcException

    given = list(results)
    verdicts: list[Verdict] = []
    reason = ""
    try:
        with (
            changing(workspace, "accept results", PATIENCE_S),
            open_repo(workspace, wait_for_lock=True) as repo,
            repo.lock,
        ):
            stages = {stage_name(stage): stage for stage, _ in dvc_stages(repo)}
            for result, before in given:
                try:
                    verdict = _accept(stages, place, result, before)
                except (DvcException, OSError) as error:
                    verdict = Verdict(result.job.stage, f"{_NOT_WRITTEN}{one_line(error)}")
                verdicts.append(verdict)
            try:
                _write_entries(repo, [stages[verdict.stage] for verdict in verdicts if verdict.reason is None], place)
            except (DvcException, OSError) as error:
                why = f"{_NOT_WRITTEN}{one_line(error)}"
                verdicts = [Verdict(verdict.stage, verdict.reason or why) for verdict in verdicts]
    except (GraphError, ConfigError, OSError) as error:
        reason = f"this checkout cannot be read: {one_line(error)}"
    return verdicts + [Verdict(result.job.stage, reason) for result, _ in given[len(verdicts) :]]


def _accept(stages: Mapping[str, "Stage"], place: Path, result: Result, before: Before) -> Verdict:
    """Lay out the outputs of a result that may come into the workspace; its entry is not written yet."""
    name = result.job.stage
    stage = stages.get(name)
    if stage is None:
        return Verdict(name, "the stage is no longer in dvc.yaml")
    recorded = {path_of(out): out.hash_info.value for out in stage.outs}
    if reason := _other_inputs(stage, result) or _other_outputs(stage, result, before, recorded):
        return Verdict(name, reason)
    from dvc.stage.loader import StageLoader

    StageLoader.fill_from_lock(stage, dict(result.entry))
    stage.cmd_changed = False
    for out in stage.outs:
        if out.use_cache:
            out.checkout(force=True)
            # Only now: a pattern such as /reports/ does not match a folder that does not exist yet, and DVC would add
            # another line to the user's .gitignore.
            out.ignore()
        else:
            _copy(place / path_of(out), Path(out.fs_path))
    return Verdict(name, None)


def _other_inputs(stage: "Stage", result: Result) -> str | None:
    """How the stage's inputs in the workspace differ from those of the result."""
    from dvc.exceptions import DvcException
    from dvc.stage.serialize import to_single_stage_lockfile

    if stage.frozen:  # `dvc freeze`: the stage keeps its outputs, whatever its inputs are
        kept = all(out.hash_info for out in stage.outs) and to_single_stage_lockfile(stage) == result.entry
        return None if kept else "it was frozen here after the run began"
    try:
        stage.save_deps()
        changed = changed_inputs(result.entry, inputs_of(to_single_stage_lockfile(stage)))
    except DvcException as error:
        return one_line(error)
    if sorted(out.def_path for out in stage.outs) != sorted(out["path"] for out in result.entry.get("outs", [])):
        changed.append("its outputs in dvc.yaml")
    return f"{_listed(changed)} changed here after the run began" if changed else None


def _other_outputs(stage: "Stage", result: Result, before: Before, recorded: Before) -> str | None:
    """Files at the outputs' paths that a user put there since the run began: they must not be overwritten."""
    made = {out["path"]: out.get("md5") for out in result.entry.get("outs", [])}
    for out in stage.outs:
        path = path_of(out)
        now = out.get_hash().value if out.exists else None
        if now not in (None, made[out.def_path], before.get(path), recorded.get(path)):
            return f"{path} was changed by hand after the run began"
    return None


def _copy(source: Path, target: Path) -> None:
    """Copy a small file or folder that git tracks atomically, through a copy in the run's checkout."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = source.with_name(f".{source.name}.new")
    if source.is_dir():
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(source, new)
        shutil.rmtree(target, ignore_errors=True)
    else:
        shutil.copyfile(source, new)
    os.replace(new, target)


def _write_entries(repo: "Repo", stages: list["Stage"], place: Path) -> None:
    """Write the stages' entries atomically: DVC truncates dvc.lock first, so a kill would leave it empty.

    All entries at once: to read and write the file takes seconds if a pipeline has a thousand stages.
    """
    from dvc.dvcfile import Lockfile

    by_path: dict[Path, list[Stage]] = {}
    for stage in stages:
        by_path.setdefault(Path(stage.path).with_suffix(".lock"), []).append(stage)
    for path, own in by_path.items():
        with tempfile.TemporaryDirectory(dir=place) as folder:  # removed with the run's checkout if the run is killed
            new = Path(folder) / path.name
            if path.is_file():
                shutil.copyfile(path, new)
            Lockfile(repo, str(new)).dump_stages(own)
            os.replace(new, path)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more

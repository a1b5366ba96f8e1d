"""Outputs of stages that dvc.yaml no longer has, such as the model of a block that was removed from params.yaml."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.dvc_lock import LOCK_FILE, parsed_yaml
from flows.git import GitError, git
from flows.graph import dvc_stages, path_of, stage_name
from flows.hashes import recorded_stage

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

_NAME = re.compile(rb"^  (\S.*):\r?$", re.MULTILINE)  # of a stage in dvc.lock, as DVC writes it


@dataclass(frozen=True)
class Retired:
    """An output that was removed, the stage of which it was left, and what still has it."""

    path: str
    stage: str
    kept_by: Literal["DVC's cache", "git"]

    @property
    def line(self) -> str:
        return f"removed {self.path}: the pipeline has no stage {self.stage} any more; {self.kept_by} keeps it"


def remove_retired(repo: "Repo") -> tuple[Retired, ...]:
    """Remove what such stages have left in the checkout, and return it.

    A stage may depend on a folder that has many stages' outputs, such as models/trained or metrics. What a retired
    stage left there would be part of the plan and, if git ignores it, not of the run's snapshot. Only what the stage
    made is removed, and only if DVC's cache or git's last commit has it, unchanged; and nothing that a stage or a .dvc
    file still names: as an input, or as something in or around an output.
    """
    path = Path(repo.root_dir) / LOCK_FILE
    content = path.read_bytes() if path.is_file() else b""
    stages = [stage for stage, _ in dvc_stages(repo)]
    present = {stage_name(stage) for stage in stages}
    # To parse the file takes longer than all else here, and hardly ever finds something.
    if all(name.decode() in present for name in _NAME.findall(content)):
        return ()
    locked: Mapping[str, Any] = (parsed_yaml(content, LOCK_FILE) or {}).get("stages") or {}
    retired = {name: entry for name, entry in locked.items() if name not in present and entry.get("outs")}
    # The entry's paths are relative to the folder in which its command ran: for this file, nearly always its own.
    like = next((stage for stage in stages if stage.cmd and Path(stage.wdir) == path.parent), None)
    if not retired or like is None:
        return ()
    outs = {Path(out.fs_path) for stage in stages for out in stage.outs}
    # A dependency of `dvc import-db` has no path.
    named = outs | {Path(dep.fs_path) for stage in stages for dep in stage.deps if dep.fs_path}
    named.update(folder for item in tuple(named) for folder in item.parents)
    removed = []
    for name, entry in retired.items():
        for out in recorded_stage(entry, like).outs:
            left = Path(out.fs_path)
            if left in named or not outs.isdisjoint(left.parents) or not out.exists or out.changed_checksum():
                continue
            if (kept_by := _kept_by(repo, out)) is not None:
                _remove(left)
                removed.append(Retired(path_of(out), name, kept_by))
    return tuple(removed)


def _kept_by(repo: "Repo", out: "Output") -> Literal["DVC's cache", "git"] | None:
    """What has an output as it is on disk; None if nothing else has it."""
    if repo.scm.is_ignored(out.fs_path):
        return None if out.changed_cache() else "DVC's cache"
    folder, name = Path(repo.root_dir), path_of(out)
    try:
        has_it = git(folder, "ls-tree", "HEAD", "--", name)
        differs = git(folder, "status", "--porcelain", "--", name)
    except GitError:  # no commit yet
        return None
    return "git" if has_it and not differs else None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()

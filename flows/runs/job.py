"""A stage to run, and its result, as plain data that does not depend on who runs it or where."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# One stage's entry in dvc.lock, as DVC writes it: cmd, deps, params, outs.
LockEntry = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One stage of a run. inputs: cmd, deps and params of its lock entry before it began."""

    run: str
    snapshot: str  # the commit
    stage: str
    inputs: LockEntry
    attempt: int = 1


@dataclass(frozen=True)
class Result:
    """The result of a job: the lock entry, with the hash of every input and output, and whether the command ran.

    machine: facts of the machine that it ran on, if that was another one.
    """

    job: Job
    entry: LockEntry
    ran: bool
    seconds: float = field(default=0.0, compare=False)
    machine: Mapping[str, str] | None = field(default=None, compare=False)


def key_of(job: Job) -> str:
    """A key that is the same for equal jobs of any run."""
    text = json.dumps([job.stage, job.inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def inputs_of(entry: LockEntry) -> dict[str, Any]:
    """The inputs that a lock entry names."""
    return {name: entry[name] for name in ("cmd", "deps", "params") if name in entry}


def changed_inputs(before: LockEntry, after: LockEntry) -> list[str]:
    """The differences between the inputs of two entries: paths, and dotted keys of parameters."""
    changed = ["the command"] if before.get("cmd") != after.get("cmd") else []
    old, new = _by_path(before), _by_path(after)
    return changed + sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def input_hashes(inputs: LockEntry) -> dict[str, str]:
    """The md5 of each dependency, by its path."""
    return {item["path"]: item["md5"] for item in inputs.get("deps", [])}


def _by_path(entry: LockEntry) -> dict[str, Any]:
    parameters = {
        f"{file} {key}": value for file, values in entry.get("params", {}).items() for key, value in values.items()
    }
    return {**input_hashes(entry), **parameters}

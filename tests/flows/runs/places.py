"""A place of a toy workspace, in which stages are brought up to date as by a run, but without Prefect."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

from flows.graph import open_repo, read_graph
from flows.runs.checkout import open_detached
from flows.runs.job import Job, LockEntry, Result
from flows.runs.place import Place, command_line, open_place, stage_variables
from flows.runs.snapshot import take_snapshot


@contextmanager
def place_of(workspace: Path, name: str = "place") -> Iterator[Place]:
    """A place with the workspace's present contents."""
    checkout = open_detached(workspace, take_snapshot(workspace).commit, workspace / ".genai" / "runs" / name)
    with open_place(checkout, workspace) as place:
        yield place


def job_of(place: Place, stage: str) -> Job:
    return place.job("run", "snapshot", stage, {})


def run_command(place: Place, stage: str, command: str) -> None:
    environment = {**os.environ, **stage_variables(place, job_of(place, stage))}
    subprocess.run(
        command_line(command), cwd=place.working_folder(stage), env=environment, check=True, capture_output=True
    )


def made(place: Place, stage: str) -> Result:
    """Bring a stage up to date."""
    with open_repo(place.folder) as repo:
        command = next(node.command for node in read_graph(repo).stages if node.name == stage)
    job = job_of(place, stage)
    if (entry := place.restore(job)) is not None:
        return Result(job, entry, ran=False)
    place.clear_outputs(job)
    run_command(place, stage, str(command))
    return Result(job, place.record(job), ran=True)


def locked(folder: Path) -> dict[str, LockEntry]:
    path = folder / "dvc.lock"
    return YAML(typ="safe").load(path)["stages"] if path.is_file() else {}

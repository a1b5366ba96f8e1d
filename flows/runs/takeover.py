"""Take over a run that another machine began: its record and snapshot from the git remote, its data from DVC's."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from flows.data.objects import RemoteError, UnreachableError
from flows.data.outputs import fetch_outputs, patiently
from flows.data.stores import opened_remote
from flows.git import GitError
from flows.graph import dvc_stages
from flows.runs.publication import fetch_published
from flows.runs.record import RUNS, RunError
from flows.runs.stored import stored
from flows.whole_file import write_json


def take_over(workspace: Path, name: str, say: Callable[[str], None]) -> str:
    """Make a run at the git remote a run of this workspace, as if it had been killed here. Return its id.

    say: receives a line about where it began. Raises RunError.
    """
    try:
        published = fetch_published(workspace, name)
    except GitError as error:
        raise RunError(f"no run here matches {name!r}, and the git remote cannot be asked: {error}") from None
    if published is None:
        raise RunError(
            f"no run matches {name!r}, neither here nor at the git remote; `genai runs` lists those of this checkout. "
            "The git remote has the runs that used other machines and are not completed"
        )
    record = replace(published.record, is_published=True)
    write_json(workspace / RUNS / record.id / "run.json", asdict(record))
    say(f"run {record.id} was that of {published.holder}")
    return record.id


def fetch_recorded(checkout: Path, say: Callable[[str], None]) -> None:
    """Fetch what the snapshot names and the cache lacks, so that the rest of the run can be planned here.

    Outputs of stages that are not complete at the remote are made again. say: receives a line for each wait for the
    remote. Raises RemoteError if a data source is not complete there.
    """
    with opened_remote(checkout, None) as (repo, store):
        missing = [
            (stored(out), stage.is_data_source)
            for stage, _ in dvc_stages(repo)
            for out in stage.outs
            if out.use_cache and out.hash_info and out.changed_cache()
        ]
        for output, is_source in missing:
            try:
                patiently(lambda output=output: fetch_outputs(repo, store, [output]), say)  # type: ignore[misc]
            except UnreachableError:
                raise
            except RemoteError as error:
                if is_source:
                    raise RemoteError(f"the run's data are not at the DVC remote: {error}") from None

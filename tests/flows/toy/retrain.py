"""A retraining of a toy workspace: as the real one, but for what it decides. The pipeline is the real one."""

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State

from flows.runs.pipeline import pipeline
from flows.watching.queued import absorb_queued


@flow(name="retrain", persist_result=False)
def retrain(
    workspace: str = ".", reason: str = "", old_version: str = "", new_version: str = "", asked: bool = False
) -> State[None]:
    absorbed = absorb_queued()
    print(f"absorbed {len(absorbed.names)}, because {reason}, {old_version} -> {new_version}, {asked}")
    return pipeline(str(Path(workspace).resolve()), [], return_state=True)

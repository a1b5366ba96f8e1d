"""A person's yes or no: the flow waits at Prefect's server, and `genai approve` or the server's pages answer."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.redact import without_secrets
from flows.retraining.source import RetrainError
from flows.services.api import ApiError, api_at

_FILE = Path(".genai/retrain/waiting.json")


@contextmanager
def waiting(workspace: Path, run_id: str, run_name: str, api_url: str) -> Iterator[None]:
    """Write down, for the length of the body, which run waits for an answer and where."""
    path = workspace / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    api = without_secrets(api_url)
    path.write_text(json.dumps({"id": run_id, "name": run_name, "api": api, "pid": os.getpid()}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def answer(workspace: Path, run: str | None, *, promote: bool, note: str) -> str:
    """Answer the run that waits in a workspace; its name. Raises RetrainError when none waits, or it cannot be told."""
    try:
        found = json.loads((workspace / _FILE).read_text())
    except (OSError, ValueError):
        raise RetrainError("no retraining of this checkout waits for an answer") from None
    if run not in (None, found["id"], found["name"]):
        raise RetrainError(f"{run} does not wait; what waits is {found['name']} ({found['id']})")
    try:
        said = api_at(found["api"]).post(
            f"flow_runs/{found['id']}/resume", run_input={"promote": promote, "note": note}
        )
    except ApiError as error:
        raise RetrainError(f"{found['name']} could not be told: {error}") from None
    if said.get("status") != "ACCEPT":
        reason = (said.get("details") or {}).get("reason", "it does not wait any more")
        raise RetrainError(f"{found['name']} took no answer: {reason}")
    return str(found["name"])

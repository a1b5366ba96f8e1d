"""A person's approval: the flow pauses at Prefect's server; `genai approve` or the server's pages answer.

Only the flow imports Prefect: `genai approve` makes one request, and the import would take a second longer.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from flows.redact import without_secrets
from flows.registry.read import MODEL
from flows.retraining import RetrainError
from flows.retraining.gate import with_votes
from flows.retraining.votes import following_votes, people_prefer, size_of_votes, votes_so_far
from flows.services.api import ApiError, api_at
from flows.whole_file import write_json

if TYPE_CHECKING:
    from flows.retraining.steps import Judged, Work

_WAITING_FILE = Path(".genai/retrain/waiting.json")
_POLL_S = 2


@contextmanager
def waiting(workspace: Path, run_id: str, run_name: str, api_url: str) -> Iterator[None]:
    """Record which run waits for an answer, and at which server, while the body runs."""
    path = workspace / _WAITING_FILE
    write_json(path, {"id": run_id, "name": run_name, "api": without_secrets(api_url)})
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def answer(workspace: Path, run: str | None, *, promote: bool, note: str) -> str:
    """Answer the run that waits, and return its name. Raises RetrainError if none waits, or the server refuses."""
    try:
        found = json.loads((workspace / _WAITING_FILE).read_text())
    except (OSError, ValueError):
        raise RetrainError("no retraining of this checkout waits for an answer") from None
    if run not in (None, found["id"], found["name"]):
        raise RetrainError(f"{run} does not wait for an answer; the waiting run is {found['name']} ({found['id']})")
    try:
        response = api_at(found["api"]).post(
            f"flow_runs/{found['id']}/resume", run_input={"promote": promote, "note": note}
        )
    except ApiError as error:
        raise RetrainError(f"the answer did not reach {found['name']}: {error}") from None
    if response.get("status") != "ACCEPT":
        reason = (response.get("details") or {}).get("reason", "it no longer waits")
        raise RetrainError(f"{found['name']} did not accept the answer: {reason}")
    return str(found["name"])


def ask_for_approval(work: "Work", judged: "Judged") -> tuple[str, ...]:
    """Pause until a person answers; return the reasons against a promotion, empty after a yes. A timeout is a no."""
    from prefect.artifacts import create_markdown_artifact
    from prefect.exceptions import FlowPauseTimeout
    from prefect.flow_runs import pause_flow_run
    from prefect.input import RunInput
    from prefect.runtime import flow_run
    from prefect.settings import PREFECT_API_URL

    from flows.artifacts import picture_in_markdown, tried
    from flows.retraining.messages import log, send
    from flows.retraining.pages import approval_page
    from flows.retraining.steps import COMPARISON

    class Approval(RunInput):  # its fields are a form on the run's page
        promote: bool = False
        note: str = ""

    gate, champion = work.situation.config.gate, work.situation.champion
    title = f"May the candidate replace {champion}?" if champion else "May the candidate be the first in production?"
    until = datetime.now().astimezone() + timedelta(seconds=gate.approval_timeout_s)
    facts = {
        "data": f"{work.purpose.raw[:10]}, production has {work.situation.production_raw[:10] or 'none'}",
        "made by": f"{work.purpose.action}, from commit {work.purpose.base[:7]}",
        "branch": work.worktree.branch,
        "weights": judged.comparison["b"]["weights_sha256"][:12],
        "device hours": f"{judged.device_hours:.3f}",
    }
    pictures = work.worktree.folder / COMPARISON
    picture = picture_in_markdown(pictures / "samples.png", "samples")

    def page() -> str:
        facts.update(_votes_facts(work, judged))
        return approval_page(title, _with_votes_now(work, judged).verdict, judged.comparison, picture, facts)

    def show() -> None:
        tried(lambda: create_markdown_artifact(page(), key="approval", description=title))

    votes = size_of_votes(work.workspace)
    show()
    log(f"waiting for `genai approve yes` or `genai approve no`, {gate.approval_timeout_s:,} s at most")
    log(f"pictures: {pictures}")
    how = (
        f"Answer by {until:%Y-%m-%d %H:%M %Z}; no answer means no. Run `genai approve yes` or `genai approve no` in "
        f"the checkout {work.workspace}, or press Resume at {flow_run.ui_url}"
    )
    rules = [f"{rule.name}: {rule.figures}" for rule in judged.verdict.rules]
    send("waiting", title, "\n".join([how, "", *rules]), facts, work.situation.config.notify)
    wanted = Approval.with_initial_data(description=page(), promote=False, note="")
    run_id = str(flow_run.get_id())
    try:
        with (
            waiting(work.workspace, run_id, str(flow_run.get_name()), str(PREFECT_API_URL.value())),
            following_votes(work.workspace, show, votes),
        ):
            approval = pause_flow_run(wait_for_input=wanted, timeout=gate.approval_timeout_s, poll_interval=_POLL_S)
    except FlowPauseTimeout:
        _end_pause(run_id)
        return (f"nobody answered within {gate.approval_timeout_s:,} s, which means no",)
    note = f": {approval.note}" if approval.note else ""
    return () if approval.promote else (f"a person said no{note}",)


def _votes_facts(work: "Work", judged: "Judged") -> dict[str, str]:
    """People's votes on the candidate so far, and how to vote; nothing without a champion."""
    found = people_prefer(work.workspace, judged.comparison)
    if found is None:
        return {}
    return {"blind votes": f"{votes_so_far(found)}; vote: genai serve --blind prod {work.worktree.folder / MODEL}"}


def _with_votes_now(work: "Work", judged: "Judged") -> "Judged":
    """The verdict with the votes that there are now; the rule on them stays open."""
    least = work.situation.config.gate.min_preference
    if least is None:
        return judged
    found = people_prefer(work.workspace, judged.comparison)
    return replace(judged, verdict=with_votes(judged.verdict, found, least, final=False))


def _end_pause(run_id: str) -> None:
    """Set the run to Running: after a pause's timeout, the server turns any other state into Failed."""
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(run_id), Running(), force=True)

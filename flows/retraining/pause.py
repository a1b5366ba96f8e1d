"""The pause in which a person says yes or no, with a page that shows what there is to say it by."""

from datetime import datetime, timedelta
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Running

from flows.artifacts import picture_in_markdown, tried
from flows.retraining.approval import waiting
from flows.retraining.cards import approval_page
from flows.retraining.steps import COMPARISON, Judged, Work
from flows.retraining.tell import say, tell

_POLL_S = 2


class Approval(RunInput):
    """A person's answer."""

    promote: bool = False
    note: str = ""


def ask_a_person(work: Work, judged: Judged) -> tuple[str, ...]:
    """Wait for an answer; the reasons against a promotion, empty after a yes. No answer in time is a no."""
    gate, champion = work.situation.config.gate, work.situation.champion
    title = f"May the candidate replace {champion}?" if champion else "May the candidate be the first in production?"
    until = datetime.now().astimezone() + timedelta(seconds=gate.approval_timeout_s)
    facts = {
        "data": f"{work.purpose.raw[:10]}, production has {work.situation.production_raw[:10] or 'none'}",
        "made by": f"{work.purpose.action}, from commit {work.purpose.base[:7]}",
        "branch": work.tree.branch,
        "weights": judged.comparison["b"]["weights_sha256"][:12],
        "device hours": f"{judged.device_hours:.3f}",
    }
    pictures = work.tree.folder / COMPARISON
    picture = picture_in_markdown(pictures / "samples.png", "samples")
    page = approval_page(title, judged.verdict, judged.comparison, picture, facts)
    tried(lambda: create_markdown_artifact(page, key="approval", description=title))
    say(f"waiting for `genai approve yes` or `genai approve no`, {gate.approval_timeout_s:,} s at most")
    say(f"pictures: {pictures}")
    run_id, name = str(flow_run.get_id()), str(flow_run.get_name())
    answer_at = (
        f"Answer until {until:%Y-%m-%d %H:%M %Z}, or it is a no: `genai approve yes` or `genai approve no` in the "
        f"checkout {work.root}, or Resume at {flow_run.ui_url}"
    )
    rules = [f"{rule.name}: {rule.figures}" for rule in judged.verdict.rules]
    tell("waiting", title, "\n".join([answer_at, "", *rules]), facts, work.situation.config.notify)
    wanted = Approval.with_initial_data(description=page, promote=False, note="")
    try:
        with waiting(work.root, run_id, name, str(PREFECT_API_URL.value())):
            answer = pause_flow_run(wait_for_input=wanted, timeout=gate.approval_timeout_s, poll_interval=_POLL_S)
    except FlowPauseTimeout:
        _go_on()
        return (f"nobody answered within {gate.approval_timeout_s:,} s, which means no",)
    said = f": {answer.note}" if answer.note else ""
    return () if answer.promote else (f"a person said no{said}",)


def _go_on() -> None:
    """Out of the pause: the server turns whatever a run becomes after its pause's time into Failed."""
    run_id = flow_run.get_id()
    assert run_id is not None
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(str(run_id)), Running(), force=True)

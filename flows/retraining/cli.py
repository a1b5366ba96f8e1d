"""The commands `retrain` and `approve`."""

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from flows.json_output import json_option, print_json
from flows.prefect_log import quiet_prefect
from flows.table import print_table

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from flows.retraining.policy import Decision

EXIT_FAILED, EXIT_REJECTED = 1, 3


@click.command()
@click.option("--plan", "plan_only", is_flag=True, help="Only print what would be done, and why. Trains nothing.")
@click.option("--force", is_flag=True, help="Retrain however small the change is, and even after a rejection.")
@click.option(
    "--action",
    type=click.Choice(["train", "finetune"]),
    help="What to do.  [default: the policy in params.yaml decides]",
)
@click.option("-m", "--reason", default="", help="Reason; it is shown with the decision.")
@json_option
@click.pass_obj
def retrain(
    workspace: Path,
    plan_only: bool,
    force: bool,
    action: Literal["train", "finetune"] | None,
    reason: str,
    as_json: bool,
) -> None:
    """Retrain on the newest data if that is worth it.

    Promotes the new model if it passes the gate. Works in its own checkout and leaves your files as they are. Exit
    status 3: the candidate was rejected.
    """
    from flows.services.settings import configured_api_url
    from flows.workspace import checked_config

    checked_config(workspace)
    if configured_api_url() is None and not force and action is None:
        decision = _decided_without_server(workspace, plan_only)
        if decision is not None:
            if as_json:
                print_json(_values(workspace, "planned" if plan_only else "skipped", decision.action, decision.reasons))
            return
    sys.exit(_run_flow(workspace, plan_only, force, action, reason, as_json=as_json))


@click.command()
@click.argument("answer", type=click.Choice(["yes", "no"]))
@click.argument("run", required=False)
@click.option("-m", "--reason", "note", default="", help="Reason; it is kept with a rejection.")
@click.pass_obj
def approve(workspace: Path, answer: str, run: str | None, note: str) -> None:
    """Accept or reject the candidate of a waiting retraining.

    A retraining waits if gate.approval is human. RUN is the id or name of its flow run. Without it, there must be only
    one.
    """
    from flows.retraining.approval import answer as send_answer

    name = send_answer(workspace, run, promote=answer == "yes", note=note)
    click.echo(f"sent {answer!r} to {name}")


def _decided_without_server(workspace: Path, plan_only: bool) -> "Decision | None":
    """Decide and print without Prefect, if possible: starting a server takes longer than deciding.

    Returns None if the flow must decide or act.
    """
    from flows.interrupts import deferred_interrupt

    with deferred_interrupt():
        from flows.registry.interrupted import unfinished
        from flows.retraining.facts import decision_of, fact_rows, facts_of, read_situation, skip_if_rejected
        from flows.retraining.foreseen import foreseen_rejection
        from flows.retraining.pages import decision_lines

    situation = read_situation(workspace)
    left = unfinished(workspace)
    if left and not plan_only:
        return None
    decision = skip_if_rejected(workspace, situation)
    if decision is None and not situation.same_data and situation.production is not None:
        return None
    facts, gaps = facts_of(workspace, situation, None, requested=False)
    decision = decision or decision_of(facts, situation.config.retrain, action=None, interrupted=None)
    if decision.action != "skip" and not plan_only:
        return None
    foreseen = foreseen_rejection(workspace, situation, facts, None)
    gaps = (*gaps, foreseen) if foreseen else gaps
    notes = (*situation.notes, *gaps, *(f"{entry.sentence}; `genai retrain` finishes it" for entry in left))
    print_table([(row["what"], row["is"]) for row in fact_rows(situation, facts)])
    for line in decision_lines(decision, notes):
        click.echo(line)
    return decision


def _run_flow(workspace: Path, plan_only: bool, force: bool, action: str | None, reason: str, *, as_json: bool) -> int:
    from flows.interrupts import deferred_interrupt
    from flows.services.server import ensure_prefect_api
    from flows.view import line_view

    quiet_prefect()
    ensure_prefect_api()
    with deferred_interrupt():
        from flows.retraining.retrain import retrain as flow

    with line_view():
        state = flow(str(workspace), reason=reason, asked=force, action=action, plan_only=plan_only, return_state=True)
    if state.is_completed():
        click.echo(f"\n{state.message}")
        if as_json:
            print_json(_flow_values(workspace, state))
        return EXIT_REJECTED if state.name == "Rejected" else 0
    fault = state.result(raise_on_failure=False)
    if state.is_failed() and isinstance(fault, Exception) and state.message != str(fault):
        raise fault  # raised by the flow; the command line prints a GenaiError as one line
    message = state.message or "the retraining failed"
    click.echo(click.style(f"\n{message}", fg="red"), err=True)
    if as_json:
        print_json({**_flow_values(workspace, state), "error": message})
    return 128 + signal.SIGINT if state.is_cancelled() else EXIT_FAILED


def _flow_values(workspace: Path, state: "State[Any]") -> dict[str, Any]:
    """Return what `--json` prints of an ended flow."""
    from flows.retraining.messages import LAST_FILE
    from flows.retraining.policy import Decision

    if state.is_cancelled():
        return _values(workspace, "stopped", None, ())
    if state.name == "Planned":
        decision = state.result()
        assert isinstance(decision, Decision)
        return _values(workspace, "planned", decision.action, decision.reasons)
    last = json.loads((workspace / LAST_FILE).read_text())
    action = "skip" if last["result"] == "skipped" else last.get("action")
    before, branch = last.get("before"), last.get("branch")
    return _values(workspace, last["result"], action, last["reasons"], None if before == "none" else before, branch)


def _values(
    workspace: Path,
    result: str,
    action: str | None,
    reasons: tuple[str, ...] | list[str],
    before: str | None = None,
    branch: str | None = None,
) -> dict[str, Any]:
    from flows.registry.read import read_registry

    standing = read_registry(workspace).production()
    return {
        "result": result,
        "action": action,
        "reasons": list(reasons),
        "production": standing.version if standing else None,
        "before": before,
        "branch": branch,
    }

"""The commands `retrain` and `approve`."""

import os
import signal
import sys
from pathlib import Path
from typing import Literal

import click

EXIT_FAILED, EXIT_REJECTED = 1, 3


@click.command()
@click.option("--plan", "plan_only", is_flag=True, help="Only say what would be done, and why; trains nothing.")
@click.option("--force", is_flag=True, help="No change is too small, and what was rejected is tried again.")
@click.option("--action", type=click.Choice(["train", "finetune"]), help="What to do.  [default: it is decided]")
@click.option("-m", "--reason", default="", help="Why; it is shown with the decision.")
@click.pass_obj
def retrain(
    workspace: Path, plan_only: bool, force: bool, action: Literal["train", "finetune"] | None, reason: str
) -> None:
    """Retrain on the newest data if that is worth it, and promote the new model if it passes the gate.

    All of it happens in a checkout of its own: your files stay as they are. Exit status 3: the candidate was rejected.
    """
    from flows.services.settings import configured_api_url
    from flows.workspace import checked_config

    checked_config(workspace)
    if configured_api_url() is None and not force and action is None and _nothing_to_do(workspace, plan_only):
        return
    sys.exit(_run_flow(workspace, plan_only, force, action, reason))


@click.command()
@click.argument("answer", type=click.Choice(["yes", "no"]))
@click.argument("run", required=False)
@click.option("-m", "--reason", "note", default="", help="Why; it is kept with a rejection.")
@click.pass_obj
def approve(workspace: Path, answer: str, run: str | None, note: str) -> None:
    """Say yes or no to the candidate of a retraining that waits (gate.approval: human). RUN: its id or name."""
    from flows.retraining.approval import answer as tell

    name = tell(workspace, run, promote=answer == "yes", note=note)
    click.echo(f"{name} was told: {answer}")


def _nothing_to_do(workspace: Path, plan_only: bool) -> bool:
    """Decide without Prefect where nothing has to be prepared for it: a server would take longer than all the rest."""
    from flows.interrupts import deferred_interrupt

    with deferred_interrupt():
        from flows.registry.interrupted import unfinished
        from flows.retraining.facts import decision_of, fact_rows, facts_of, read_situation, skip_if_rejected
        from flows.retraining.pages import decision_lines

    situation = read_situation(workspace)
    left = unfinished(workspace)
    if left and not plan_only:
        return False
    decision = skip_if_rejected(workspace, situation)
    if decision is None and not situation.same_data and situation.production is not None:
        return False
    facts, gaps = facts_of(workspace, situation, None, requested=False)
    decision = decision or decision_of(facts, situation.config.retrain, action=None, interrupted=None)
    if decision.action != "skip" and not plan_only:
        return False
    notes = (*situation.notes, *gaps, *(f"{entry.sentence}; genai retrain finishes it" for entry in left))
    for line in decision_lines(decision, fact_rows(situation, facts), notes):
        click.echo(line)
    return True


def _run_flow(workspace: Path, plan_only: bool, force: bool, action: str | None, reason: str) -> int:
    from flows.interrupts import deferred_interrupt
    from flows.services.server import ensure_prefect_api
    from flows.view import line_view

    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    ensure_prefect_api()
    with deferred_interrupt():
        from flows.retraining.retrain import retrain as flow

    with line_view():
        state = flow(str(workspace), reason=reason, asked=force, action=action, plan_only=plan_only, return_state=True)
    if state.is_completed():
        click.echo(f"\n{state.message}")
        return EXIT_REJECTED if state.name == "Rejected" else 0
    fault = state.result(raise_on_failure=False)
    if state.is_failed() and isinstance(fault, Exception) and state.message != str(fault):
        raise fault  # what the flow raised; the command line knows which of them are one line
    click.echo(click.style(f"\n{state.message}", fg="red"), err=True)
    return 128 + signal.SIGINT if state.is_cancelled() else EXIT_FAILED

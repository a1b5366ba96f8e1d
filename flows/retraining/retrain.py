"""The flow `retrain`: observe, decide, run in a worktree, apply the gate, ask for approval, then promote or reject."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cancelled import until_cancelled
from flows.registry.read import MODEL
from flows.retraining import RetrainError
from flows.retraining.approval import ask_for_approval
from flows.retraining.facts import Situation, decision_of, facts_of, skip_if_rejected
from flows.retraining.foreseen import foreseen_rejection
from flows.retraining.messages import log, send, write_last
from flows.retraining.outcomes import deliver, fail, finish_interrupted, reject
from flows.retraining.policy import Action
from flows.retraining.standing import standing_now
from flows.retraining.steps import (
    Work,
    compare_data,
    compare_models,
    judge_votes,
    observe,
    open_checkout,
    publish_decision,
    set_up,
    set_up_few_steps,
    unchanged,
)
from flows.retraining.worktree import check_can_start, close_worktree
from flows.runs.pipeline import pipeline
from flows.watching.queued import absorb_queued
from flows.workspace import only_run_in

_CANDIDATE = MODEL.rpartition("/")[2]


@flow(name="retrain", flow_run_name="retrain, if it is worth it", persist_result=False)
def retrain(
    workspace: str = ".",
    reason: str = "",
    old_version: str = "",
    new_version: str = "",
    asked: bool = False,
    action: Literal["train", "finetune"] | None = None,
    plan_only: bool = False,
) -> State[None]:
    """Retrain on the newest data if that is worth it, and promote the new model if it passes the gate.

    Ends as Completed (promoted), Skipped, Rejected, or Failed. Production changes only if it ends as Completed.
    Raises RetrainError, ConfigError, GitError, RemoteError; RetrainError also if the gate would reject any candidate.

    Args:
        workspace: The checkout, relative to the worker's folder.
        reason: Why the run was started; shown with the decision.
        old_version: The data that production was made from, from the event.
        new_version: The new data, from the event.
        asked: A person requested it: retrain however small the change, and even if this data was rejected before.
        action: What to do; decided by default.
        plan_only: Only decide.
    """
    root = Path(workspace).resolve()
    why = reason or (f"data {old_version[:10]} -> {new_version[:10]}" if new_version else "")
    return until_cancelled(lambda: _exclusively(root, why, requested=asked, action=action, plan_only=plan_only))


def _exclusively(workspace: Path, why: str, *, requested: bool, action: Action | None, plan_only: bool) -> State[None]:
    """Run one retraining of a workspace at a time."""
    with only_run_in(workspace, "retraining"):
        absorbed = absorb_queued()  # the events until now are about data that this run includes
        if why:
            log(f"reason: {why}")
        for other in absorbed.reasons:
            log(f"includes a queued run; its reason: {other}")
        situation = observe(workspace)
        try:
            if not plan_only and finish_interrupted(workspace, situation):
                situation = observe(workspace)
            requested = requested or absorbed.asked
            return _retrain(workspace, situation, requested=requested, action=action, plan_only=plan_only)
        except Exception as error:
            if not plan_only:
                now = standing_now(workspace, situation.champion)  # the error may come after the promotion
                text = f"{error}\n{now.sentence}."
                send("failed", "The retraining failed", text, {}, situation.config.notify)
                write_last(workspace, {"result": "failed", "reasons": [str(error)], "version": now.version})
            raise


def _retrain(
    workspace: Path, situation: Situation, *, requested: bool, action: Action | None, plan_only: bool
) -> State[None]:
    work: Work | None = None
    change = None
    skip = None if requested or action else skip_if_rejected(workspace, situation)
    if situation.production is not None and not situation.same_data and skip is None:
        work = open_checkout(workspace, situation)
        state = _run(work, "prepare")
        if not state.is_completed():
            return fail(work, state)
        change = compare_data(work)
    facts, gaps = facts_of(workspace, situation, change, requested=requested)
    interrupted = work.purpose.action if work else None
    decision = skip or decision_of(facts, situation.config.retrain, action=action, interrupted=interrupted)
    foreseen = foreseen_rejection(workspace, situation, facts, change)
    publish_decision(situation, facts, decision, (*gaps, foreseen) if foreseen else gaps)
    if plan_only:
        return Completed(name="Planned", message=decision.sentence, data=decision)
    if decision.action == "skip":
        if work is not None:
            close_worktree(workspace, work.worktree, work.purpose.base)
        send("skipped", "Nothing to do", decision.sentence, {}, situation.config.notify)
        write_last(workspace, {"result": "skipped", "reasons": decision.reasons, "version": situation.champion})
        return Completed(name="Skipped", message=f"nothing to do: {decision.sentence}")
    if foreseen:
        if work is not None:
            close_worktree(workspace, work.worktree, work.purpose.base)
        raise RetrainError(foreseen)
    check_can_start(workspace, situation.start)
    work = work or open_checkout(workspace, situation)
    work = replace(work, purpose=replace(work.purpose, action=decision.action))
    champion = set_up(work)
    state = _run(work, _CANDIDATE)
    if state.is_completed() and work.makes_few_step_model:
        work = set_up_few_steps(work)
        state = _run(work, _CANDIDATE)
    if not state.is_completed():
        return fail(work, state)
    judged = compare_models(work, champion)
    reasons = judged.verdict.failures or unchanged(judged)
    if not reasons and situation.config.gate.approval == "human":
        reasons = ask_for_approval(work, judged)
        judged = judge_votes(work, judged)
        reasons = reasons or judged.verdict.failures
    return reject(work, judged, reasons) if reasons else deliver(work, judged, decision)


def _run(work: Work, stage: str) -> State[None]:
    """Run a stage and its upstream stages in the retraining's worktree."""
    return cast("State[None]", pipeline(str(work.worktree.folder), [stage], return_state=True))

"""The flow `retrain`: notice, decide, run in a checkout of its own, gate, approve, then promote or reject."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cancelled import until_cancelled
from flows.registry.read import MODEL
from flows.retraining.checkout import close_checkout
from flows.retraining.endings import broken, deliver, finish_interrupted, reject
from flows.retraining.facts import Situation, decision_of, facts_of, rejected
from flows.retraining.pause import ask_a_person
from flows.retraining.policy import Action
from flows.retraining.source import check_can_start
from flows.retraining.steps import (
    Work,
    compare_data,
    compare_models,
    notice,
    open_tree,
    publish_decision,
    set_up,
)
from flows.retraining.tell import say, tell, write_last
from flows.runs.pipeline import pipeline
from flows.watching.queued import absorb_queued
from flows.workspace import only_run_in


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

    Ends as Completed (promoted), Skipped, Rejected, or Failed; production changes only in the first case.
    Raises RetrainError, ConfigError, GitError, RemoteError.

    Args:
        workspace: The checkout, relative to where the worker runs.
        reason: Why it was started; it is shown with the decision.
        old_version: The data that production was made of, as the event has it.
        new_version: The data that came, as the event has it.
        asked: By a person: no change is too small, no rejection too fresh.
        action: What to do; by default it is decided.
        plan_only: Only decide.
    """
    root = Path(workspace).resolve()
    why = reason or (f"data {old_version[:10]} -> {new_version[:10]}" if new_version else "")
    return until_cancelled(lambda: _alone(root, why, asked=asked, action=action, plan_only=plan_only))


def _alone(root: Path, why: str, *, asked: bool, action: Action | None, plan_only: bool) -> State[None]:
    """One retraining of a checkout at a time."""
    with only_run_in(root, "retraining"):
        absorbed = absorb_queued()  # events until here are about data that are taken now
        if why:
            say(f"started because: {why}")
        for other in absorbed.reasons:
            say(f"made one with a queued run, started because: {other}")
        situation = notice(root)
        try:
            if not plan_only and finish_interrupted(root, situation):
                situation = notice(root)
            return _retrain(root, situation, asked=asked or absorbed.asked, action=action, plan_only=plan_only)
        except Exception as error:
            if not plan_only:
                text = f"{error}\nProduction is as it was: {situation.champion or 'none'}."
                tell("failed", "The retraining failed", text, {}, situation.config.notify)
                write_last(root, {"result": "failed", "reasons": [str(error)], "version": situation.champion})
            raise


def _retrain(root: Path, situation: Situation, *, asked: bool, action: Action | None, plan_only: bool) -> State[None]:
    work: Work | None = None
    change = None
    known = None if asked or action else rejected(root, situation)
    if situation.production is not None and not situation.same_data and known is None:
        work = open_tree(root, situation)
        state = _run(work, "prepare")
        if not state.is_completed():
            return broken(work, state)
        change = compare_data(work)
    facts, gaps = facts_of(root, situation, change, asked=asked)
    goes_on = work.purpose.action if work else None
    decision = known or decision_of(facts, situation.config.retrain, action=action, goes_on=goes_on)
    publish_decision(situation, facts, decision, gaps)
    if plan_only:
        return Completed(name="Planned", message=decision.sentence, data=decision)
    if decision.action == "skip":
        if work is not None:
            close_checkout(root, work.tree, work.purpose.base)
        tell("skipped", "Nothing to do", decision.sentence, {}, situation.config.notify)
        write_last(root, {"result": "skipped", "reasons": decision.reasons, "version": situation.champion})
        return Completed(name="Skipped", message=f"nothing to do: {decision.sentence}")
    check_can_start(root, situation.source)
    work = work or open_tree(root, situation)
    work = replace(work, purpose=replace(work.purpose, action=decision.action))
    champion = set_up(work)
    state = _run(work, MODEL.rpartition("/")[2])
    if not state.is_completed():
        return broken(work, state)
    judged = compare_models(work, champion)
    reasons = judged.verdict.failures
    if not reasons and situation.config.gate.approval == "human":
        reasons = ask_a_person(work, judged)
    return reject(work, judged, reasons) if reasons else deliver(work, judged, decision)


def _run(work: Work, stage: str) -> State[None]:
    """A stage and all that it depends on, in the retraining's checkout."""
    return cast("State[None]", pipeline(str(work.tree.folder), [stage], return_state=True))

"""The ends of a retraining: promoted, rejected, or broken off. What it made is kept on its branch in each case."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.artifacts import tried
from flows.data.objects import RemoteError
from flows.data.remote import push
from flows.git import GitError, commit_of, git
from flows.graph import open_repo
from flows.registry.interrupted import Delivery, unfinished, write_delivery
from flows.registry.promotion import Moved, promote
from flows.registry.read import RegistryError
from flows.retraining.cards import rule_rows, table
from flows.retraining.checkout import close_checkout, read_purpose
from flows.retraining.cost import device_hours_since
from flows.retraining.delivery import merge_into, push_branches
from flows.retraining.facts import Situation
from flows.retraining.policy import Decision
from flows.retraining.recipe import verdict_recipe_at
from flows.retraining.records import Record, Result, failed_hours, is_recorded, read_records
from flows.retraining.source import RetrainError
from flows.retraining.steps import Judged, Work
from flows.retraining.tell import say, tell, write_last
from flows.runs.checkout import Worktree, commit_results
from flows.runs.pipeline import pipeline


def deliver(work: Work, judged: Judged, decision: Decision) -> State[None]:
    """Promote, draw a batch, merge and push the branch. Raises RetrainError when production could not be moved."""
    branch = work.tree.branch
    commit_results(
        work.tree, f"A candidate that passed the gate: {work.purpose.action} on data {work.purpose.raw[:10]}"
    )
    delivery = Delivery(
        commit=commit_of(work.tree.folder),
        into=work.situation.source.branch,
        device_hours=judged.device_hours,
        reasons=decision.reasons,
        rules=tuple(rule_rows(judged.verdict)),
    )
    write_delivery(work.tree.folder, delivery)  # before the tags: who comes after a kill knows what was not done
    try:
        moved = promote_candidate(work, _why(work, delivery))
    except (GitError, RegistryError, RemoteError) as error:
        raise RetrainError(
            f"the candidate passed, but could not be promoted: {str(error).rstrip('.')}. It is kept on {branch}: "
            "genai retrain goes on from here"
        ) from error
    say(f"{moved.version} is in production, before it {moved.before or 'nothing'}")
    return finish(work, moved.version, delivery)


def finish(work: Work, version: str, delivery: Delivery) -> State[None]:
    """All that follows a promotion. Each step may have been done already, by a retraining that was killed then."""
    notes = _draw_batch(work)
    title = f"Retrained: {version} is in production"
    if not is_recorded(work.tree.folder, delivery.commit):
        reason = "; ".join(delivery.reasons)
        keep_record(work, "promoted", delivery.device_hours, reason, title, _rules(delivery.rules))
    notes += _push_batch(work) + deliver_branch(work, delivery.into, title)
    facts = {"version": version, "before": work.purpose.champion or "none", "branch": work.tree.branch}
    _say_all(notes)
    tell("promoted", title, "\n".join([_why(work, delivery), *notes]), facts, work.situation.config.notify)
    action = work.purpose.action
    write_last(work.root, {"result": "promoted", "action": action, "reasons": delivery.reasons, **facts})
    _publish(title, delivery.rules, notes)
    return Completed(message=f"{title} ({action}; {'; '.join(delivery.reasons)})")


def finish_interrupted(root: Path, situation: Situation) -> bool:
    """Finish what retrainings left that were killed after they had moved production; whether there was any."""
    found = unfinished(root)
    for left in found:
        say(f"{left.sentence}: that is done now")
        tree = Worktree(left.folder, left.branch, taken_up=True)
        finish(Work(root, situation, tree, read_purpose(tree)), left.version, left.delivery)
    return bool(found)


def reject(work: Work, judged: Judged, reasons: tuple[str, ...]) -> State[None]:
    """Keep figures and reasons on the branch; production is not touched."""
    text, champion, branch = "; ".join(reasons), work.situation.champion or "none", work.tree.branch
    title = f"Rejected: {work.purpose.action} on data {work.purpose.raw[:10]}"
    rules = tuple(rule_rows(judged.verdict))
    keep_record(work, "rejected", judged.device_hours, text, title, _rules(rules))
    close_checkout(work.root, work.tree, None)
    notes = [push_branches(work.root, [branch]), f"production is as it was: {champion}"]
    _say_all(notes)
    facts = {"version": champion, "branch": branch}
    tell("rejected", title, "\n".join([*reasons, *notes]), facts, work.situation.config.notify)
    write_last(work.root, {"result": "rejected", "action": work.purpose.action, "reasons": reasons, **facts})
    _publish(title, rules, [*reasons, *notes])
    return Completed(
        name="Rejected", message=f"rejected: {text}. Production is as it was: {champion}; figures on {branch}"
    )


def broken(work: Work, state: State[None]) -> State[None]:
    """A stage failed, or the run was stopped: what is done is kept, and the next retraining goes on from it."""
    if state.is_cancelled():
        return Cancelled(message="stopped on request; the next retraining goes on from here")
    message, champion = state.message or "the pipeline failed", work.situation.champion or "none"
    hours = device_hours_since(work.tree.folder, work.purpose.base)
    keep_record(
        work, "failed", hours, message.splitlines()[0], f"A retraining failed: {work.purpose.raw[:10]}", message
    )
    pushed = push_branches(work.root, [work.tree.branch])
    text = f"{message}\nProduction is as it was: {champion}. `genai retrain` goes on from here. Its branch: {pushed}."
    facts = {"version": champion, "branch": work.tree.branch}
    tell("failed", "The retraining failed", text, facts, work.situation.config.notify)
    write_last(work.root, {"result": "failed", "action": work.purpose.action, "reasons": [message], **facts})
    return Failed(message=text)


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE, persist_result=False)
def promote_candidate(work: Work, why: str) -> Moved:
    """Data and model to the remote, then the tags: all of it, or nothing."""
    return promote(work.tree.folder, push, why=why, by="genai retrain")


@task(name="deliver the branch", task_run_name="deliver the branch", cache_policy=NO_CACHE, persist_result=False)
def deliver_branch(work: Work, into: str, title: str) -> list[str]:
    """Merge into the branch that people work on, push both branches, remove the checkout. A line each."""
    merged = merge_into(work.root, into, work.tree.branch, title)
    pushed = push_branches(work.root, [work.tree.branch, *([into] if merged.commit else [])])
    close_checkout(work.root, work.tree, None)  # last: while it is there, it is known that something is left to do
    return [merged.said, pushed]


def keep_record(work: Work, result: Result, device_hours: float, reason: str, title: str, text: str) -> None:
    """Commit what there is to the branch, with what came of the retraining in the message. Raises GitError."""
    purpose = work.purpose
    # A retraining that failed before has counted its hours itself.
    hours = device_hours - failed_hours(read_records(work.root), purpose.raw, purpose.champion, purpose.base)
    record = Record(
        result=result,
        action=purpose.action or "none",
        raw_data=purpose.raw,
        champion=purpose.champion,
        base=purpose.base,
        device_hours=max(hours, 0.0),
        reason=reason,
        # Of the commit whose gate it was held against; all that shapes a result is the same at the base.
        recipe=verdict_recipe_at(work.root, work.situation.source.commit) if result == "rejected" else "",
    )
    message = record.message(title, text)
    if commit_results(work.tree, message) is None:
        git(work.tree.folder, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", message)


def _draw_batch(work: Work) -> list[str]:
    """A batch from the new production model, by the stages themselves; production is what it is if that fails."""
    # The report shows every trained model: after a fine-tuning the others are of older data.
    stage = "report" if work.purpose.action == "train" else "generate"
    state = pipeline(str(work.tree.folder), [stage], return_state=True)
    if state.is_completed():
        return ["a batch was drawn from it: samples/batch"]
    return [f"no batch was drawn: {state.message}; later: genai run generate"]


def _push_batch(work: Work) -> list[str]:
    with open_repo(work.tree.folder) as repo:
        remote = repo.config["core"].get("remote")
    if remote is None:
        return ["data and model are in this machine's DVC cache only; there is no DVC remote"]
    try:
        push(work.tree.folder)
    except RemoteError as error:
        return [f"model and data are at {remote}, the batch is not: {error}; later: genai data push"]
    return [f"data, model and batch are at the DVC remote {remote}"]


def _say_all(notes: list[str]) -> None:
    for note in notes:
        say(note)


def _why(work: Work, delivery: Delivery) -> str:
    return f"{work.purpose.action} on data {work.purpose.raw[:10]}: {'; '.join(delivery.reasons)}"


def _rules(rows: tuple[dict[str, str], ...]) -> str:
    return "\n".join(f"{row['passed']:<3}  {row['rule']}: {row['figures']}" for row in rows)


def _publish(title: str, rows: tuple[dict[str, str], ...], lines: list[str]) -> None:
    page = "\n".join([f"## {title}", "", *(f"- {line}" for line in lines), "", *table(list(rows))])
    tried(lambda: create_markdown_artifact(page, key="retraining", description=title))

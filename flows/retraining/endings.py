"""The ends of a retraining: promoted, rejected, or broken off. What it made is kept on its branch in each case."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.artifacts import tried
from flows.data.objects import RemoteError
from flows.data.remote import push
from flows.git import GitError, git
from flows.registry.promotion import Moved, promote
from flows.registry.read import RegistryError
from flows.retraining.cards import rule_rows, table
from flows.retraining.checkout import close_checkout
from flows.retraining.cost import device_hours_since
from flows.retraining.delivery import merge_into, push_branches
from flows.retraining.policy import Decision
from flows.retraining.records import Record, Result, failed_hours, read_records
from flows.retraining.source import RetrainError
from flows.retraining.steps import Judged, Work
from flows.retraining.tell import say, tell, write_last
from flows.runs.checkout import commit_results
from flows.runs.pipeline import pipeline


def deliver(work: Work, judged: Judged, decision: Decision) -> State[None]:
    """Promote, draw a batch, merge and push the branch. Raises RetrainError when production could not be moved."""
    purpose, branch = work.purpose, work.tree.branch
    why = f"{purpose.action} on data {purpose.raw[:10]}: {decision.sentence}"
    commit_results(work.tree, f"A candidate that passed the gate: {purpose.action} on data {purpose.raw[:10]}")
    try:
        moved = promote_candidate(work, why)
    except (GitError, RegistryError, RemoteError) as error:
        raise RetrainError(
            f"the candidate passed, but could not be promoted: {str(error).rstrip('.')}. It is kept on {branch}: "
            "genai retrain goes on from here"
        ) from error
    say(f"{moved.version} is in production, before it {moved.before or 'nothing'}")
    notes = _draw_batch(work)
    title = f"Retrained: {moved.version} is in production"
    keep_record(work, "promoted", judged.device_hours, decision.sentence, title, _rules(judged))
    notes += _push_batch(work, moved) + deliver_branch(work, title)
    facts = {"version": moved.version, "before": moved.before or "none", "branch": branch}
    _say_all(notes)
    tell("promoted", title, "\n".join([why, *notes]), facts, work.situation.config.notify)
    write_last(work.root, {"result": "promoted", "action": purpose.action, "reasons": decision.reasons, **facts})
    _publish(title, judged, notes)
    return Completed(message=f"{title} ({purpose.action}; {decision.sentence})")


def reject(work: Work, judged: Judged, reasons: tuple[str, ...]) -> State[None]:
    """Keep figures and reasons on the branch; production is not touched."""
    text, champion, branch = "; ".join(reasons), work.situation.champion or "none", work.tree.branch
    title = f"Rejected: {work.purpose.action} on data {work.purpose.raw[:10]}"
    keep_record(work, "rejected", judged.device_hours, text, title, _rules(judged))
    close_checkout(work.root, work.tree, None)
    notes = [push_branches(work.root, [branch]), f"production is as it was: {champion}"]
    _say_all(notes)
    facts = {"version": champion, "branch": branch}
    tell("rejected", title, "\n".join([*reasons, *notes]), facts, work.situation.config.notify)
    write_last(work.root, {"result": "rejected", "action": work.purpose.action, "reasons": reasons, **facts})
    _publish(title, judged, [*reasons, *notes])
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
    text = f"{message}\nProduction is as it was: {champion}. `genai retrain` goes on from here."
    facts = {"version": champion, "branch": work.tree.branch}
    tell("failed", "The retraining failed", text, facts, work.situation.config.notify)
    write_last(work.root, {"result": "failed", "action": work.purpose.action, "reasons": [message], **facts})
    return Failed(message=text)


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE, persist_result=False)
def promote_candidate(work: Work, why: str) -> Moved:
    """Data and model to the remote, then the tags: all of it, or nothing."""
    return promote(work.tree.folder, push, why=why, by="genai retrain")


@task(name="deliver the branch", task_run_name="deliver the branch", cache_policy=NO_CACHE, persist_result=False)
def deliver_branch(work: Work, title: str) -> list[str]:
    """Merge into the branch that people work on, remove the checkout, push both branches. A line each."""
    branch = work.situation.source.branch
    merged = merge_into(work.root, branch, work.tree.branch, title)
    close_checkout(work.root, work.tree, None)
    return [merged.said, push_branches(work.root, [work.tree.branch, *([branch] if merged.commit else [])])]


def keep_record(work: Work, result: Result, device_hours: float, reason: str, title: str, text: str) -> None:
    """Commit what there is to the branch, with what came of the retraining in the message. Raises GitError."""
    purpose = work.purpose
    # A retraining that failed before has counted its hours itself.
    hours = device_hours - failed_hours(read_records(work.root), purpose.raw, purpose.champion, purpose.base)
    record = Record(
        result, purpose.action or "none", purpose.raw, purpose.champion, purpose.base, max(hours, 0.0), reason
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


def _push_batch(work: Work, moved: Moved) -> list[str]:
    if moved.data_remote is None:
        return ["data and model are in this machine's DVC cache only; there is no DVC remote"]
    try:
        push(work.tree.folder)
    except RemoteError as error:
        return [f"model and data are at {moved.data_remote}, the batch is not: {error}; later: genai data push"]
    return [f"data, model and batch are at the DVC remote {moved.data_remote}"]


def _say_all(notes: list[str]) -> None:
    for note in notes:
        say(note)


def _rules(judged: Judged) -> str:
    return "\n".join(f"{row['passed']:<3}  {row['rule']}: {row['figures']}" for row in rule_rows(judged.verdict))


def _publish(title: str, judged: Judged, lines: list[str]) -> None:
    page = "\n".join([f"## {title}", "", *(f"- {line}" for line in lines), "", *table(rule_rows(judged.verdict))])
    tried(lambda: create_markdown_artifact(page, key="retraining", description=title))

"""How a retraining ends: promoted, rejected or failed. Its results stay on its branch in each case."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows.artifacts import tried
from flows.data.objects import RemoteError
from flows.data.remote import push, push_commit
from flows.git import GitError, commit_of, git
from flows.graph import GraphError, open_repo
from flows.registry.interrupted import Delivery, unfinished, write_delivery
from flows.registry.promotion import Moved, promote
from flows.registry.read import RegistryError
from flows.retraining import RetrainError
from flows.retraining.branches import merge_into, push_branches
from flows.retraining.facts import Situation
from flows.retraining.messages import log, send, write_last
from flows.retraining.pages import result_page, rule_rows
from flows.retraining.policy import Decision
from flows.retraining.recipe import verdict_recipe_at
from flows.retraining.records import (
    Result,
    RetrainRecord,
    failed_hours,
    is_recorded,
    read_records,
)
from flows.retraining.standing import standing_now
from flows.retraining.steps import Judged, Work
from flows.retraining.worktree import close_worktree, read_purpose
from flows.runs.checkout import commit_results
from flows.runs.pipeline import pipeline


def deliver(work: Work, judged: Judged, decision: Decision) -> State[None]:
    """Promote, generate a batch, merge and push the branch. Raises RetrainError if the promotion fails."""
    worktree, purpose = work.worktree, work.purpose
    commit_results(worktree, f"A candidate that passed the gate: {purpose.action} on data {purpose.raw[:10]}")
    delivery = Delivery(
        commit=commit_of(worktree.folder),
        into=work.situation.start.branch,
        device_hours=judged.device_hours,
        reasons=decision.reasons,
        rules=tuple(rule_rows(judged.verdict)),
    )
    write_delivery(worktree.folder, delivery)  # before the tags: after a kill, it names the remaining steps
    try:
        moved = promote_candidate(work, _why(work, delivery))
    except (GitError, RegistryError, RemoteError) as error:
        raise RetrainError(
            f"the candidate passed, but the promotion failed: {str(error).rstrip('.')}. The candidate is kept on "
            f"{worktree.branch}; genai retrain continues from there"
        ) from error
    log(f"{moved.version} is in production; before: {moved.before or 'none'}")
    return finish(work, moved.version, delivery)


def finish(work: Work, version: str, delivery: Delivery) -> State[None]:
    """Do the steps after a promotion. A retraining that was killed may have done some of them already.

    They take hours, or begin days later: if production has moved since, the branch is kept, but not merged.
    """
    before = work.purpose.champion
    notes = _generate_batch(work) if standing_now(work.workspace, before).version == version else []
    now = standing_now(work.workspace, before)
    is_standing = now.version == version
    title = f"Retrained: {version} is in production" if is_standing else f"Retrained: {version} was promoted"
    if not is_recorded(work.worktree.folder, delivery.commit):
        reason = "; ".join(delivery.reasons)
        keep_record(work, "promoted", delivery.device_hours, reason, title, _rules(delivery.rules))
    if is_standing:
        notes += [_push_batch(work), *deliver_branch(work, delivery.into, title)]
    else:
        stands = "unknown" if now.version is None else now.version or "none"
        notes += keep_branch(work, delivery.into, f"{version} is no longer in production (now: {stands})")
    facts = {"version": now.version or "none", "before": before or "none", "branch": work.worktree.branch}
    for note in notes:
        log(note)
    send("promoted", title, "\n".join([_why(work, delivery), *notes]), facts, work.situation.config.notify)
    action = work.purpose.action
    write_last(work.workspace, {"result": "promoted", "action": action, "reasons": delivery.reasons, **facts})
    _publish(title, delivery.rules, notes)
    return Completed(message=f"{title} ({action}; {'; '.join(delivery.reasons)})")


def finish_interrupted(workspace: Path, situation: Situation) -> bool:
    """Finish the retrainings that were killed after the promotion; return whether there were any."""
    found = unfinished(workspace)
    for left in found:
        log(f"{left.sentence}: finishing it now")
        work = Work(workspace, situation, left.worktree, read_purpose(left.worktree.folder))
        finish(work, left.version, left.delivery)
    return bool(found)


def reject(work: Work, judged: Judged, reasons: tuple[str, ...]) -> State[None]:
    """Keep figures and reasons on the branch; production does not change."""
    text, branch = "; ".join(reasons), work.worktree.branch
    title = f"Rejected: {work.purpose.action} on data {work.purpose.raw[:10]}"
    rules = tuple(rule_rows(judged.verdict))
    keep_record(work, "rejected", judged.device_hours, text, title, _rules(rules))
    close_worktree(work.workspace, work.worktree, None)
    now = standing_now(work.workspace, work.situation.champion)
    notes = [push_branches(work.workspace, [branch]), now.sentence]
    facts = {"version": now.version or "none", "branch": branch}
    for note in notes:
        log(note)
    send("rejected", title, "\n".join([*reasons, *notes]), facts, work.situation.config.notify)
    write_last(work.workspace, {"result": "rejected", "action": work.purpose.action, "reasons": reasons, **facts})
    _publish(title, rules, [*reasons, *notes])
    return Completed(name="Rejected", message=f"rejected: {text}. {now.sentence}; the figures are on {branch}")


def fail(work: Work, state: State[None]) -> State[None]:
    """End after a failed stage or a stop, and keep finished stages. The next retraining resumes."""
    if state.is_cancelled():
        return Cancelled(message="stopped on request; the next retraining continues from here")
    message = state.message or "the pipeline failed"
    hours = work.device_hours
    title = f"A retraining failed: {work.purpose.raw[:10]}"
    keep_record(work, "failed", hours, message.splitlines()[0], title, message)
    pushed = push_branches(work.workspace, [work.worktree.branch])
    now = standing_now(work.workspace, work.situation.champion)
    text = f"{message}\n{now.sentence}. `genai retrain` continues from here. Its branch: {pushed}."
    facts = {"version": now.version or "none", "branch": work.worktree.branch}
    send("failed", "The retraining failed", text, facts, work.situation.config.notify)
    write_last(work.workspace, {"result": "failed", "action": work.purpose.action, "reasons": [message], **facts})
    return Failed(message=text)


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE, persist_result=False)
def promote_candidate(work: Work, why: str) -> Moved:
    """Push data and model to the remote, then add the tags: all or nothing."""
    return promote(work.worktree.folder, push_commit, why=why, by="genai retrain")


@task(name="deliver the branch", task_run_name="deliver the branch", cache_policy=NO_CACHE, persist_result=False)
def deliver_branch(work: Work, into: str, title: str) -> list[str]:
    """Merge into the branch that people work on, push both, remove the worktree; return one line each."""
    merged = merge_into(work.workspace, into, work.worktree.branch, title)
    pushed = push_branches(work.workspace, [work.worktree.branch, *([into] if merged.commit else [])])
    close_worktree(work.workspace, work.worktree, None)  # last: while it exists, the delivery counts as unfinished
    return [merged.note, pushed]


@task(name="keep the branch", task_run_name="keep the branch", cache_policy=NO_CACHE, persist_result=False)
def keep_branch(work: Work, into: str, why: str) -> list[str]:
    """Push the branch without a merge, and remove the worktree; return one line each."""
    branch = work.worktree.branch
    pushed = push_branches(work.workspace, [branch])
    close_worktree(work.workspace, work.worktree, None)  # last, as in `deliver_branch`
    return [f"{why}; {branch} was not merged. To merge it into {into}: git merge {branch}", pushed]


def keep_record(work: Work, result: Result, device_hours: float, reason: str, title: str, text: str) -> None:
    """Commit the results to the branch, with the record in the message. Raises GitError."""
    purpose = work.purpose
    # An earlier failed attempt recorded its hours already.
    hours = device_hours - failed_hours(read_records(work.workspace), purpose.raw, purpose.champion, purpose.base)
    record = RetrainRecord(
        result=result,
        action=purpose.action or "none",
        raw_data=purpose.raw,
        champion=purpose.champion,
        base=purpose.base,
        device_hours=max(hours, 0.0),
        reason=reason,
        # Of the commit whose gate was applied; the rest of the recipe is the same at the base.
        recipe=verdict_recipe_at(work.workspace, work.situation.start.commit) if result == "rejected" else "",
    )
    message = record.message(title, text)
    if commit_results(work.worktree, message) is None:
        git(work.worktree.folder, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", message)


def _generate_batch(work: Work) -> list[str]:
    """Run the stages that generate a batch from the new production model. A failure does not change production."""
    # The report shows every trained model. After a fine-tuning, the others are of older data.
    stage = "report" if work.purpose.action == "train" else "generate"
    state = pipeline(str(work.worktree.folder), [stage], return_state=True)
    if state.is_completed():
        return ["generated a batch: samples/batch"]
    return [f"no batch was generated: {state.message}; to do it later: genai run generate"]


def _push_batch(work: Work) -> str:
    try:
        with open_repo(work.worktree.folder) as repo:
            remote = repo.config["core"].get("remote")
        if remote is None:
            return "there is no DVC remote: data and model are only in this machine's DVC cache"
        push(work.worktree.folder)
    except (RemoteError, GraphError) as error:
        return f"the batch was not pushed: {error}; to do it later: genai data push"
    return f"pushed data, model and batch to the DVC remote {remote}"


def _why(work: Work, delivery: Delivery) -> str:
    return f"{work.purpose.action} on data {work.purpose.raw[:10]}: {'; '.join(delivery.reasons)}"


def _rules(rows: tuple[dict[str, str], ...]) -> str:
    return "\n".join(f"{row['passed']:<3}  {row['rule']}: {row['figures']}" for row in rows)


def _publish(title: str, rules: tuple[dict[str, str], ...], lines: list[str]) -> None:
    page = result_page(title, rules, lines)
    tried(lambda: create_markdown_artifact(page, key="retraining", description=title))

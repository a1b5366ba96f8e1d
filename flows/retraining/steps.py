"""The steps of a retraining up to the gate: Prefect tasks that publish their results as pages."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.artifacts import tried
from flows.data.diff import DataDiff, diff
from flows.data.remote import fetch_output
from flows.measuring.comparison import Side, compare_folders
from flows.registry.base import BASE, SELECTED, bring_in, set_start
from flows.registry.model_names import name_commit
from flows.registry.read import MODEL
from flows.retraining import RetrainError
from flows.retraining.champion import champion_label_accuracy, lay_out_champion
from flows.retraining.facts import Situation, fact_rows, read_situation
from flows.retraining.gate import GateVerdict, gate, gate_facts, with_votes
from flows.retraining.messages import log
from flows.retraining.pages import decision_page, rule_rows
from flows.retraining.policy import Decision, RetrainFacts
from flows.retraining.records import device_hours_since
from flows.retraining.votes import people_prefer
from flows.retraining.worktree import Purpose, open_for_retraining, write_purpose
from flows.runs.checkout import Worktree
from flows.workspace import RAW_DATA

COMPARISON = Path(".genai/comparison")  # in the worktree


@dataclass(frozen=True)
class Work:
    """A retraining in progress: its workspace, the known facts, its own worktree and that worktree's purpose."""

    workspace: Path
    situation: Situation
    worktree: Worktree
    purpose: Purpose


@dataclass(frozen=True)
class Judged:
    """A candidate and the gate's verdict on it."""

    comparison: dict[str, Any]
    verdict: GateVerdict
    device_hours: float


@task(name="observe", task_run_name="observe", cache_policy=NO_CACHE, persist_result=False)
def observe(workspace: Path) -> Situation:
    """Find what is in production, and the newest data."""
    situation = read_situation(workspace)
    log(
        f"production: {situation.champion or 'none yet'}, of data {situation.production_raw[:10] or '-'}; "
        f"newest data: {situation.start.raw[:10]} ({situation.start.where})"
    )
    return situation


@task(name="open a checkout", task_run_name="open a checkout", cache_policy=NO_CACHE, persist_result=False)
def open_checkout(workspace: Path, situation: Situation) -> Work:
    """Open a git worktree on a branch of its own, with access to the data."""
    worktree, purpose = open_for_retraining(workspace, situation.start, situation.champion, date.today())
    log(f"{'resumes' if worktree.resumed else 'opened'} {worktree.branch} in {worktree.folder}")
    if not fetch_output(worktree.folder, RAW_DATA.as_posix()):
        raise RetrainError(
            f"data version {situation.start.raw[:10]} is incomplete in DVC's cache and at the remote. Push it from "
            "where it was added (genai data push), or add it again"
        )
    return Work(workspace, situation, worktree, purpose)


@task(name="compare the data", task_run_name="compare the data", cache_policy=NO_CACHE, persist_result=False)
def compare_data(work: Work) -> DataDiff:
    """Measure how much of the data is new, and its distance from what production was trained on."""
    assert work.situation.production is not None
    return diff(work.worktree.folder, work.situation.production.commit)


@task(name="decide", task_run_name="decide", cache_policy=NO_CACHE, persist_result=False)
def publish_decision(situation: Situation, facts: RetrainFacts, decision: Decision, gaps: tuple[str, ...]) -> None:
    """Publish the decision with its reasons as a page."""
    notes, rows = (*situation.notes, *gaps), fact_rows(situation, facts)
    page = decision_page(decision, rows, notes)
    tried(lambda: create_markdown_artifact(page, key="decision", description=decision.sentence))
    for row in rows:
        log(f"{row['what']}: {row['is']}")
    for note in notes:
        log(f"note: {note}")
    log(f"decision: {decision.action}: {decision.sentence}")


@task(name="set up", task_run_name="set up", cache_policy=NO_CACHE, persist_result=False)
def set_up(work: Work) -> Path | None:
    """Set the training's start in the worktree, and return the champion's folder."""
    worktree, purpose = work.worktree, work.purpose
    if purpose.action == "finetune" and not purpose.champion:
        raise RetrainError("no model is in production to fine-tune; train one: genai retrain --action train")
    champion = lay_out_champion(worktree, purpose.champion) if purpose.champion else None
    set_start(worktree.folder, BASE.name if purpose.action == "finetune" else SELECTED)
    if purpose.action == "finetune":
        assert champion is not None
        bring_in(worktree.folder, champion, name_commit(worktree.folder, purpose.champion))
    write_purpose(worktree, purpose)
    return champion


@task(
    name="compare with the champion",
    task_run_name="compare with the champion",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compare_models(work: Work, champion: Path | None) -> Judged:
    """Measure both on the same test images and seeds, in the new data's extractor; then apply the gate."""
    folder, purpose = work.worktree.folder, work.purpose
    candidate = Side("candidate", folder / MODEL)
    other = Side(purpose.champion, champion) if champion is not None else None
    comparison = compare_folders(folder, candidate, other, folder / COMPARISON, log, or_alone=True)
    hours = device_hours_since(folder, purpose.base)
    accuracy = champion_label_accuracy(folder, work.situation.production)
    preference = people_prefer(work.workspace, comparison)
    verdict = gate(gate_facts(comparison, hours, accuracy, preference), work.situation.config.gate)
    rows = rule_rows(verdict)
    result = "; ".join(verdict.failures) or "passed"
    tried(lambda: create_table_artifact(rows, key="gate", description=f"The gate: {result}"))
    for rule in verdict.rules:
        log(f"gate: {rule.name}: {rule.outcome}: {rule.figures}")
    return Judged(comparison, verdict, hours)


def unchanged(judged: Judged) -> tuple[str, ...]:
    """Return why nothing is new if the candidate is production's own model, which the stage `candidate` may keep."""
    champion = judged.comparison.get("a")
    if champion is None or champion["weights_sha256"] != judged.comparison["b"]["weights_sha256"]:
        return ()
    return ("the fine-tuned model was worse than production by more than the noise, so nothing is promoted",)


def judge_votes(work: Work, judged: Judged) -> Judged:
    """Decide the rule on people's votes, after the answer of the one who approves."""
    least = work.situation.config.gate.min_preference
    if least is None:
        return judged
    verdict = with_votes(judged.verdict, people_prefer(work.workspace, judged.comparison), least)
    rule = verdict.rules[-1]
    log(f"gate: {rule.name}: {rule.outcome}: {rule.figures}")
    return replace(judged, verdict=verdict)

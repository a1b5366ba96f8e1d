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
from flows.git import commit_of
from flows.measuring.comparison import Side, compare_folders
from flows.registry.base import BASE, SELECTED, bring_in, continued_for, set_kind, set_start
from flows.registry.model_names import name_commit
from flows.registry.read import MODEL
from flows.registry.teacher import can_be_teacher
from flows.retraining import RetrainError
from flows.retraining.champion import champion_label_accuracy, lay_out_champion
from flows.retraining.facts import Situation, fact_rows, read_situation
from flows.retraining.gate import GateVerdict, gate, gate_facts, with_votes
from flows.retraining.messages import log
from flows.retraining.pages import decision_page, rule_rows
from flows.retraining.policy import Decision, RetrainFacts
from flows.retraining.records import FINETUNING, device_hours_since, hours_of
from flows.retraining.votes import people_prefer
from flows.retraining.worktree import Purpose, open_for_retraining, write_purpose
from flows.runs.checkout import Worktree, commit_results
from flows.workspace import RAW_DATA, checked_config

# What a run from the base to the candidate measures the cost of.
COMPARISON = Path(".genai/comparison")  # in the worktree


@dataclass(frozen=True)
class Work:
    """A retraining in progress: its workspace, the known facts, its own worktree and that worktree's purpose.

    earlier_hours: device hours of stages that ran a second time.
    """

    workspace: Path
    situation: Situation
    worktree: Worktree
    purpose: Purpose
    earlier_hours: float = 0.0

    @property
    def makes_few_step_model(self) -> bool:
        """Whether a few-step model is made of a fine-tuned teacher, which takes a second run."""
        return self.purpose.action == "finetune" and self.situation.config.finetune.kind == "few_step"

    @property
    def device_hours(self) -> float:
        """Device hours so far."""
        return device_hours_since(self.worktree.folder, self.purpose.base) + self.earlier_hours


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
    checked_config(worktree.folder)  # a second run, with kind few_step, would find a fault only after the first
    if purpose.action == "finetune":
        assert champion is not None
        base = continued_for(worktree.folder, name_commit(worktree.folder, purpose.champion), champion)
        if base.folder != champion:
            log(f"{purpose.champion} is a few-step model, which nothing continues: its teacher is fine-tuned")
        if work.makes_few_step_model and not can_be_teacher(base.folder):
            raise RetrainError(
                f"finetune.kind is few_step, which is for diffusion models only, and {base.title} is none; set it to "
                "full or lora in params.yaml, then commit it"
            )
        bring_in(worktree.folder, base.folder, base.title, base.commit)
    if work.makes_few_step_model:
        # The teacher must know the newest data, since a few-step model learns from what its teacher draws.
        log(
            "finetune.kind is few_step: the model is fine-tuned first (kind: full), then a few-step model is made of it"
        )
        set_kind(worktree.folder, "full")
    write_purpose(worktree, purpose)
    return champion


@task(name="set up few steps", task_run_name="set up few steps", cache_policy=NO_CACHE, persist_result=False)
def set_up_few_steps(work: Work) -> Work:
    """Make the fine-tuned model the base, of which the next run makes a few-step model."""
    folder, purpose = work.worktree.folder, work.purpose
    spent = hours_of(folder, FINETUNING)
    title = f"{purpose.champion}, fine-tuned on data {purpose.raw[:10]}"
    # A commit, so that lineage finds where the base comes from.
    commit = commit_results(work.worktree, f"The teacher of a few-step model: {title}") or commit_of(folder)
    bring_in(folder, folder / MODEL, title, commit)
    set_kind(folder, "few_step")
    return replace(work, earlier_hours=work.earlier_hours + spent)


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
    hours = work.device_hours
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

"""The steps of a retraining up to the gate: each a task with a name, whose results are pages at Prefect."""

from dataclasses import dataclass
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
from flows.registry.read import MODEL
from flows.retraining.cards import decision_page, rule_rows
from flows.retraining.champion import go_on_from, lay_out_champion
from flows.retraining.checkout import Purpose, open_checkout, set_start, write_purpose
from flows.retraining.cost import device_hours_since
from flows.retraining.facts import Situation, look, rows
from flows.retraining.gate import Verdict, gate, gate_facts
from flows.retraining.policy import Decision, RetrainFacts
from flows.retraining.source import RetrainError
from flows.retraining.tell import say
from flows.retraining.yardstick import production_label_accuracy
from flows.runs.checkout import Worktree
from flows.workspace import RAW_DATA

COMPARISON = Path(".genai/comparison")  # in the worktree


@dataclass(frozen=True)
class Work:
    """A retraining on its way: the checkout that it is for, what is known, its own checkout, and what that is for."""

    root: Path
    situation: Situation
    tree: Worktree
    purpose: Purpose


@dataclass(frozen=True)
class Judged:
    """A candidate, and what the gate says of it."""

    comparison: dict[str, Any]
    verdict: Verdict
    device_hours: float


@task(name="notice", task_run_name="notice", cache_policy=NO_CACHE, persist_result=False)
def notice(root: Path) -> Situation:
    """What is in production, and what data there are now."""
    situation = look(root)
    say(
        f"production: {situation.champion or 'nothing yet'}, of data {situation.production_raw[:10] or '-'}; "
        f"newest data: {situation.source.raw[:10]} ({situation.source.where})"
    )
    return situation


@task(name="open a checkout", task_run_name="open a checkout", cache_policy=NO_CACHE, persist_result=False)
def open_tree(root: Path, situation: Situation) -> Work:
    """A git worktree on a branch of its own, with the data in reach."""
    tree, purpose = open_checkout(root, situation.source, situation.champion, date.today())
    say(f"{'takes up' if tree.taken_up else 'opened'} {tree.branch} in {tree.folder}")
    if not fetch_output(tree.folder, RAW_DATA.as_posix()):
        raise RetrainError(
            f"data version {situation.source.raw[:10]} is whole neither in DVC's cache nor at a remote; push it "
            "from where it was added (genai data push), or add it again"
        )
    return Work(root, situation, tree, purpose)


@task(name="compare the data", task_run_name="compare the data", cache_policy=NO_CACHE, persist_result=False)
def compare_data(work: Work) -> DataDiff:
    """How much is new, and how far it lies from what production was trained on."""
    assert work.situation.production is not None
    return diff(work.tree.folder, work.situation.production.commit)


@task(name="decide", task_run_name="decide", cache_policy=NO_CACHE, persist_result=False)
def publish_decision(situation: Situation, facts: RetrainFacts, decision: Decision, gaps: tuple[str, ...]) -> None:
    """The decision with its reasons, as a page."""
    notes, table = (*situation.notes, *gaps), rows(situation, facts)
    page = decision_page(decision, table, notes)
    tried(lambda: create_markdown_artifact(page, key="decision", description=decision.sentence))
    for row in table:
        say(f"{row['what']}: {row['is']}")
    for note in notes:
        say(f"note: {note}")
    say(f"decision: {decision.action}: {decision.sentence}")


@task(name="set up", task_run_name="set up", cache_policy=NO_CACHE, persist_result=False)
def set_up(work: Work) -> Path | None:
    """Where the training starts from, written into the checkout; the champion's folder."""
    tree, purpose = work.tree, work.purpose
    if purpose.action == "finetune" and not purpose.champion:
        raise RetrainError("nothing is in production that could be fine-tuned: genai retrain --action train")
    champion = lay_out_champion(tree, purpose.champion) if purpose.champion else None
    set_start(tree, "champion" if purpose.action == "finetune" else "selected")
    if purpose.action == "finetune":
        assert champion is not None
        go_on_from(tree, champion)
    write_purpose(tree, purpose)
    return champion


@task(
    name="compare with the champion",
    task_run_name="compare with the champion",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compare_models(work: Work, champion: Path | None) -> Judged:
    """Both on the same test images and seeds, by the extractor of the new data; then every rule of the gate."""
    tree, purpose = work.tree, work.purpose
    candidate = Side("candidate", tree.folder / MODEL)
    other = Side(purpose.champion, champion) if champion is not None else None
    comparison = compare_folders(tree.folder, candidate, other, tree.folder / COMPARISON, say, or_alone=True)
    hours = device_hours_since(tree.folder, purpose.base)
    accuracy = production_label_accuracy(tree.folder, work.situation.production)
    verdict = gate(gate_facts(comparison, hours, accuracy), work.situation.config.gate)
    table = rule_rows(verdict)
    said = "passed" if verdict.passed else "; ".join(verdict.failures)
    tried(lambda: create_table_artifact(table, key="gate", description=f"The gate: {said}"))
    for row in table:
        say(f"gate: {row['rule']}: {'passed' if row['passed'] == 'yes' else 'NOT passed'}: {row['figures']}")
    return Judged(comparison, verdict, hours)

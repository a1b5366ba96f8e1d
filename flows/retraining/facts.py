"""The facts for a retraining's decision: newest data, production, earlier retrainings, changes of the data."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.data.diff import DataDiff
from flows.dvc_lock import RAW_FILE, lock_at
from flows.git import GitError, changed_files, git, remote_of
from flows.registry.read import Move, Registry, read_registry
from flows.registry.write import newer_tags
from flows.retraining import RetrainError
from flows.retraining.champion import ChampionShape, champion_shape
from flows.retraining.policy import Action, Decision, RetrainFacts, changed_share, decide
from flows.retraining.recipe import config_at, verdict_recipe_at
from flows.retraining.records import (
    FINETUNING,
    RetrainRecord,
    device_hours_at,
    expected_device_hours,
    fetch_records,
    hours_of,
    read_records,
    rejected_before,
    spent_device_hours,
)
from flows.runs.checkout import head_branch
from flows.watching.news import newest_data, uncommitted_data
from genai_core.config import Config, RetrainConfig

_NO_CLASS = "(no class)"  # as in genai_core/data/dataset/compare.py


@dataclass(frozen=True)
class StartPoint:
    """The newest data and its commit. uncommitted: the working tree's data/raw.dvc, if it is not committed."""

    commit: str
    raw: str  # DVC's hash of data/raw
    branch: str  # the workspace's
    where: str  # "this checkout", "origin/main", "the working tree"
    uncommitted: bytes | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Situation:
    """What is known before anything is prepared."""

    start: StartPoint
    config: Config  # of the start point's commit
    registry: Registry
    production: Move | None
    production_raw: str  # DVC's hash of data/raw; "": unknown
    shape: ChampionShape | None
    records: list[RetrainRecord]
    notes: tuple[str, ...]

    @property
    def champion(self) -> str:
        """The version in production; "": none."""
        return self.production.version if self.production else ""

    @property
    def same_data(self) -> bool:
        return self.production is not None and self.production_raw == self.start.raw


def find_start_point(workspace: Path) -> StartPoint:
    """Find the newest data: uncommitted here, else at the git remote if that is ahead, else at HEAD.

    Raises RetrainError or GitError.
    """
    branch = head_branch(workspace)
    if branch is None:
        try:
            git(workspace, "rev-parse", "--git-dir")
        except GitError:
            raise RetrainError(f"{workspace}: not a git repository; a retraining stores its results in git") from None
        raise RetrainError("HEAD is detached, so a promoted model has no branch to be merged into: git switch BRANCH")
    newest = newest_data(workspace)
    notes = [newest.fault] if newest.fault else []
    raw, where, uncommitted = newest.raw, newest.where, None
    if here := uncommitted_data(workspace):
        raw, where, uncommitted = here, "the working tree", (workspace / RAW_FILE).read_bytes()
        notes.append(f"{RAW_FILE} is not committed; the retraining commits it to its branch (data version {here[:10]})")
    if raw is None:
        raise RetrainError("there is no data yet; add some: genai data add PATH, or genai data add builtin:digits")
    if changed := [path for path in changed_files(workspace) if path != RAW_FILE]:
        notes.append(f"not committed, so not used: {', '.join(changed)}")
    return StartPoint(newest.commit, raw, branch, where, uncommitted, tuple(notes))


def read_situation(workspace: Path) -> Situation:
    """Read production, the newest data and earlier records. Prepares and downloads nothing but git's objects.

    Raises RetrainError, ConfigError or GitError.
    """
    notes: tuple[str, ...] = ()
    remote = remote_of(workspace)
    if remote:
        try:
            newer_tags(workspace, remote)
            fetch_records(workspace, remote)
        except GitError as error:
            notes = (f"{remote} does not answer, so only this clone's state is known: {error}",)
    start, registry = find_start_point(workspace), read_registry(workspace)
    production = registry.production()
    raw_data = lock_at(workspace, production.commit).raw_data if production else None
    return Situation(
        start=start,
        config=config_at(workspace, start.commit),
        registry=registry,
        production=production,
        production_raw=raw_data.md5 if raw_data else "",
        shape=champion_shape(workspace, production),
        records=read_records(workspace),
        notes=(*notes, *start.notes),
    )


def facts_of(
    workspace: Path, situation: Situation, change: DataDiff | None, *, requested: bool
) -> tuple[RetrainFacts, tuple[str, ...]]:
    """Return the facts, and notes on what is unknown. change: None if the data is production's own."""
    config, shape = situation.config, situation.shape
    now = datetime.now(UTC)
    total, new, removed, notes = _counts(situation, change)
    classes: list[dict[str, Any]] = ((change.images if change else None) or {}).get("classes", [])
    finetune_hours, train_hours = (
        expected_device_hours(situation.records, action) or _hours_of_a_first_one(workspace, config, action)
        for action in ("finetune", "train")
    )
    facts = RetrainFacts(
        production=situation.champion or None,
        total_images=total,
        new_images=new,
        removed_images=removed,
        new_classes=tuple(c["name"] for c in classes if c["before"] == 0 and c["after"] > 0),
        lost_classes=tuple(c["name"] for c in classes if c["before"] > 0 and c["after"] == 0),
        other_shape=shape is not None
        and (shape.image_size, shape.channels) != (config.data.image_size, config.data.channels),
        other_labels=shape is not None and bool(classes) and bool(shape.classes) != _has_labels(classes),
        drift_over_floor=(change.distance or {}).get("over_floor") if change else None,
        age_days=_age_days(workspace, situation, now),
        spent_device_hours=spent_device_hours(situation.records, config.retrain.budget_days, now),
        finetune_device_hours=finetune_hours,
        train_device_hours=train_hours,
        requested=requested,
        skipped_images=shape.skipped_images if shape else 0,
    )
    return facts, notes


def _hours_of_a_first_one(workspace: Path, config: Config, action: str) -> float | None:
    """Device hours of a retraining with that action by the checkout's cost files; None if they are unknown.

    A fine-tuning to a few-step model is two runs, and the checkout has the cost of one (steps.py).
    """
    hours = device_hours_at(workspace, action, config.models)
    if hours is not None and action == "finetune" and config.finetune.kind == "few_step":
        hours += hours_of(workspace, FINETUNING)
    return hours


def skip_if_rejected(workspace: Path, situation: Situation) -> Decision | None:
    """Return a skip if a model of this data was rejected already, since another attempt would give the same result.

    Either a person rolled back from a model of this data, or the gate rejected one: with this recipe, against this
    champion.
    """
    start, production = situation.start, situation.production
    if production is not None and production.action == "rollback" and not situation.same_data:
        left = [v.name for v in situation.registry.versions if v.facts and v.facts.raw_data == start.raw]
        if left:
            why = f"{left[-1]} was made from this data, and production was rolled back to {production.version}"
            return Decision("skip", (f"{why}: {production.why}", "genai retrain --force tries again"))
    found = rejected_before(
        situation.records,
        start.raw,
        situation.champion,
        start.commit,
        lambda: verdict_recipe_at(workspace, start.commit),
    )
    if found is None:
        return None
    day = f" on {found.at:%Y-%m-%d}" if found.at else ""
    tried = f"this data was tried{day} ({found.commit[:7]}) and rejected: {found.reason}"
    return Decision("skip", (tried, "genai retrain --force tries again"))


def decision_of(
    facts: RetrainFacts, policy: RetrainConfig, *, action: Action | None, interrupted: Action | None
) -> Decision:
    """Decide what to do. action: requested by a person; interrupted: of a retraining of this data, to resume."""
    if action is not None:
        return Decision(action, (f"{action} was requested",))
    if interrupted:
        return Decision(interrupted, (f"a {interrupted} on this data was interrupted; resuming it",))
    return decide(facts, policy)


def fact_rows(situation: Situation, facts: RetrainFacts) -> list[dict[str, str]]:
    """Return the facts for people, one row each."""
    share = changed_share(facts)
    values = {
        "production": facts.production or "none yet",
        "data of production": situation.production_raw[:10] or "unknown",
        "newest data": f"{situation.start.raw[:10]} ({situation.start.where})",
        "images to train on": f"{facts.total_images:,}" if facts.production else "unknown until they are prepared",
        "new or relabelled, removed": (
            f"{facts.new_images:,}, {facts.removed_images:,} ({share:.1%})" if facts.production else "all of them"
        ),
        "new classes": ", ".join(facts.new_classes) or "none",
        "lost classes": ", ".join(facts.lost_classes) or "none",
        "drift of new images": _shown(facts.drift_over_floor, "floors"),
        "age of production": _shown(facts.age_days, "days"),
        "spent in the budget period": (
            f"{facts.spent_device_hours:.2f} of {situation.config.retrain.budget_device_hours:g} device hours"
        ),
        "expected cost of a fine-tuning": _shown(facts.finetune_device_hours, "device hours"),
        "expected cost of a training": _shown(facts.train_device_hours, "device hours"),
    }
    return [{"what": what, "is": value} for what, value in values.items()]


def _counts(situation: Situation, change: DataDiff | None) -> tuple[int, int, int, tuple[str, ...]]:
    """Images in the train split now, new ones among them, and those removed from it; and notes."""
    known = situation.shape.train_images if situation.shape else None
    if change is None:
        return known or 0, 0, 0, ()
    images = change.images
    if images is None:
        total = 1 if known is None else known
        return total, total, 0, (*change.notes, "so the number of new images is unknown, and all count as new")
    total = int(images["after"]["splits"].get("train", 0))
    # For a class-conditional model, an image with another label is another image.
    new = int(images["added_train"]) + int(images["relabelled_train"])
    return total, min(new, total), int(images["removed_train"]), change.notes


def _has_labels(classes: list[dict[str, Any]]) -> bool:
    return any(c["after"] > 0 for c in classes if c["name"] != _NO_CLASS)


def _age_days(workspace: Path, situation: Situation, now: datetime) -> float | None:
    if situation.production is None:
        return None
    seconds = int(git(workspace, "show", "--no-patch", "--format=%ct", situation.production.commit).split()[-1])
    return max(0.0, (now.timestamp() - seconds) / 86400)


def _shown(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.2f} {unit}"

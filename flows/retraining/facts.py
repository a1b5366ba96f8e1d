"""The facts that a decision needs, each from the file that knows it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.data.diff import DataDiff
from flows.git import GitError, git, remote_of
from flows.locked import lock_at
from flows.registry.read import Move, Registry, read_registry
from flows.registry.write import newer_tags
from flows.retraining.champion import Shape, shape_of_production
from flows.retraining.cost import device_hours_at
from flows.retraining.policy import Action, Decision, RetrainFacts, changed_share, decide
from flows.retraining.recipe import verdict_recipe_at
from flows.retraining.records import (
    Record,
    expected_device_hours,
    fetch_records,
    read_records,
    rejected_before,
    spent_device_hours,
)
from flows.retraining.source import Source, config_at, find_source
from genai_core.config import Config, RetrainConfig


@dataclass(frozen=True)
class Situation:
    """What is known without preparing anything."""

    source: Source
    config: Config  # of the source's commit
    registry: Registry
    production: Move | None
    production_raw: str  # DVC's hash of data/raw; "": not known
    shape: Shape | None
    records: list[Record]
    notes: tuple[str, ...]

    @property
    def champion(self) -> str:
        return self.production.version if self.production else ""

    @property
    def same_data(self) -> bool:
        return self.production is not None and self.production_raw == self.source.raw


def look(workspace: Path) -> Situation:
    """Production, the newest data, and what was done before; nothing is prepared or downloaded.

    Raises RetrainError, ConfigError or GitError.
    """
    notes = []
    remote = remote_of(workspace)
    if remote:
        try:
            newer_tags(workspace, remote)
            fetch_records(workspace, remote)
        except GitError as error:
            notes.append(f"{remote} does not answer, so this is what this clone knows: {error}")
    source = find_source(workspace)
    registry = read_registry(workspace)
    standing = registry.production()
    raw = ""
    if standing is not None:
        item = lock_at(workspace, standing.commit).raw_data
        raw = item.md5 if item else ""
    return Situation(
        source=source,
        config=config_at(workspace, source.commit),
        registry=registry,
        production=standing,
        production_raw=raw,
        shape=shape_of_production(workspace, registry),
        records=read_records(workspace),
        notes=(*notes, *source.notes),
    )


def facts_of(
    workspace: Path, situation: Situation, change: DataDiff | None, *, asked: bool
) -> tuple[RetrainFacts, tuple[str, ...]]:
    """The facts, and what could not be found out. change: None where the data are production's own."""
    config, shape = situation.config, situation.shape
    now = datetime.now(UTC)
    images: dict[str, Any] = (change.images if change else None) or {}
    total, new, removed, notes = _counts(situation, change)
    drift = (change.distance or {}).get("over_floor") if change else None
    classes = images.get("classes", [])
    expected = {
        action: expected_device_hours(situation.records, action) or device_hours_at(workspace, action)
        for action in ("finetune", "train")
    }
    facts = RetrainFacts(
        production=situation.champion or None,
        total_images=total,
        new_images=new,
        removed_images=removed,
        new_classes=tuple(c["name"] for c in classes if c["before"] == 0 and c["after"] > 0),
        lost_classes=tuple(c["name"] for c in classes if c["before"] > 0 and c["after"] == 0),
        other_shape=shape is not None
        and (shape.image_size, shape.channels) != (config.data.image_size, config.data.channels),
        drift_over_floor=drift,
        age_days=_age_days(workspace, situation, now),
        spent_device_hours=spent_device_hours(situation.records, config.retrain.budget_days, now),
        finetune_device_hours=expected["finetune"],
        train_device_hours=expected["train"],
        asked=asked,
    )
    return facts, notes


def rejected(workspace: Path, situation: Situation) -> Decision | None:
    """A skip, where somebody or the gate said no to what these data make: another attempt would bring it back.

    Somebody: by rolling back from a model of these data. The gate: with this code and these parameters, as far as they
    shape a result, against this champion.
    """
    source, standing = situation.source, situation.production
    if standing is not None and standing.action == "rollback" and not situation.same_data:
        left = [v.name for v in situation.registry.versions if v.facts and v.facts.raw_data == source.raw]
        if left:
            why = f"{left[-1]} was made of these data, and production was rolled back to {standing.version}"
            return Decision("skip", (f"{why}: {standing.why}", "genai retrain --force tries again"))
    found = rejected_before(
        situation.records,
        source.raw,
        situation.champion,
        source.commit,
        lambda: verdict_recipe_at(workspace, source.commit),
    )
    if found is None:
        return None
    day = f" on {found.at:%Y-%m-%d}" if found.at else ""
    tried = f"these data were tried{day} ({found.commit[:7]}) and rejected: {found.reason}"
    return Decision("skip", (tried, "genai retrain --force tries again"))


def decision_of(
    facts: RetrainFacts, policy: RetrainConfig, *, action: Action | None, goes_on: Action | None
) -> Decision:
    """What to do. action: what a person wants; goes_on: what an interrupted retraining of these data was doing."""
    if action is not None:
        return Decision(action, (f"{action} was asked for",))
    if goes_on:
        return Decision(goes_on, (f"a {goes_on} of these data was interrupted, and goes on",))
    return decide(facts, policy)


def rows(situation: Situation, facts: RetrainFacts) -> list[dict[str, str]]:
    """For people: what is known, a row each."""
    old, new = situation.production_raw[:10], situation.source.raw[:10]
    share = changed_share(facts)
    values = {
        "production": facts.production or "nothing yet",
        "data of production": old or "not known",
        "newest data": f"{new} ({situation.source.where})",
        "images to train on": f"{facts.total_images:,}" if facts.production else "known when they are prepared",
        "new or relabelled, gone": (
            f"{facts.new_images:,}, {facts.removed_images:,} ({share:.1%})" if facts.production else "all of them"
        ),
        "new classes": ", ".join(facts.new_classes) or "none",
        "lost classes": ", ".join(facts.lost_classes) or "none",
        "drift of new images": _shown(facts.drift_over_floor, " floors"),
        "age of production": _shown(facts.age_days, " days"),
        "spent within the budget's days": (
            f"{facts.spent_device_hours:.2f} of {situation.config.retrain.budget_device_hours:g} device hours"
        ),
        "a fine-tuning takes": _shown(facts.finetune_device_hours, " device hours"),
        "a training takes": _shown(facts.train_device_hours, " device hours"),
    }
    return [{"what": what, "is": value} for what, value in values.items()]


def _counts(situation: Situation, change: DataDiff | None) -> tuple[int, int, int, tuple[str, ...]]:
    """Images of the train split now, new ones of these, and gone ones."""
    if change is None:
        return (situation.shape.train_images if situation.shape else 0), 0, 0, ()
    if change.images is None:
        notes = (*change.notes, "so how much is new is not known, and all counts as new")
        total = situation.shape.train_images if situation.shape else 1
        return total, total, 0, notes
    images = change.images
    total = int(images["after"]["splits"].get("train", 0))
    # An image with another label is another image to a model that draws by class.
    new = int(images["added_train"]) + int(images["relabelled"])
    return total, min(new, total), int(images["removed"]), change.notes


def _age_days(workspace: Path, situation: Situation, now: datetime) -> float | None:
    if situation.production is None:
        return None
    seconds = int(git(workspace, "show", "--no-patch", "--format=%ct", situation.production.commit).split()[-1])
    return max(0.0, (now.timestamp() - seconds) / 86400)


def _shown(value: float | None, unit: str) -> str:
    return "not known" if value is None else f"{value:.2f}{unit}"

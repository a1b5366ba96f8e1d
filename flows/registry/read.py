"""The model registry: git tags in the form that GTO and `dvc artifacts get --stage prod` read.

The tag candidate@v0.0.2 says that a commit's models/candidate is version v0.0.2. The tag candidate#prod#3 is the third
move: production is now the version of that commit. Tags are never deleted, so they are the history too. This code uses
git only, because importing gto takes a second.
"""

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from flows.git import git
from genai_core import GenaiError

# The name in dvc.yaml's `artifacts:`, its path, and the name of the production stage.
ARTIFACT, MODEL, STAGE = "candidate", "models/candidate", "prod"

VERSION_PATTERN = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
TAG_PATTERN = re.compile(
    rf"{ARTIFACT}(?:@(?P<version>v[0-9][^!#]*)|#(?P<stage>[^#!]+))(?P<cancel>!?)(?:#(?P<number>\d+))?"
)
TAG_REFS = (f"refs/tags/{ARTIFACT}@*", f"refs/tags/{ARTIFACT}#*")
_FORMAT = "%00".join(
    ["%(refname:short)", "%(objectname)", "%(*objectname)", "%(taggername)", "%(taggerdate:unix)", "%(contents)", "%00"]
)


class RegistryError(GenaiError):
    """The registry cannot do this; the message says why and what to do."""


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a version's model. Its tag contains them, so reading them needs no data."""

    model: str  # DVC's hash of models/candidate
    weights: str  # sha256 of its model.safetensors
    family: str
    dataset: str  # fingerprint of the dataset that it was trained on
    raw_data: str  # DVC's hash of data/raw
    metric: str
    figures: dict[str, float] = field(default_factory=dict)
    choice: str = ""  # why the pipeline chose this model


@dataclass(frozen=True)
class Version:
    """A registered model. `facts` is None if another tool made the tag."""

    name: str
    commit: str
    at: datetime
    by: str
    why: str
    facts: ModelFacts | None
    withdrawn: bool = False  # by `gto deregister`


@dataclass(frozen=True)
class Move:
    """A change of the version in production. `ended`: the tag withdraws the version."""

    number: int
    version: str
    commit: str
    at: datetime
    by: str
    action: Literal["promote", "rollback"]
    why: str
    ended: bool = False


@dataclass(frozen=True)
class Registry:
    """All versions, oldest first, and all moves of production in order."""

    versions: tuple[Version, ...]
    moves: tuple[Move, ...]
    tags: dict[str, str]  # name -> hash of the tag
    newest_at: datetime | None

    def production(self, at: datetime | None = None) -> Move | None:
        """The move to the version in production, now or at a time; None if nothing was in production."""
        standing: dict[str, Move] = {}
        for move in self.moves:
            if at is not None and move.at > at:
                break
            standing.pop(move.version, None)
            if not move.ended:
                standing[move.version] = move
        return list(standing.values())[-1] if standing else None

    def version(self, name: str) -> Version:
        """Raises RegistryError, which lists the existing versions."""
        found = next((version for version in self.versions if version.name == name), None)
        if found is None:
            known = ", ".join(version.name for version in self.versions) or "none"
            raise RegistryError(f"unknown version {name}; available: {known}")
        return found

    def of_commit(self, commit: str) -> Version | None:
        return next((version for version in self.versions if version.commit == commit), None)

    def before(self) -> str | None:
        """The version that a rollback returns to: the one in production before the current one was promoted."""
        trail: list[str] = []
        for move in self.moves:
            if move.ended:
                trail = [name for name in trail if name != move.version]
            elif move.action == "rollback" and move.version in trail:
                del trail[trail.index(move.version) + 1 :]
            elif not trail or trail[-1] != move.version:
                trail.append(move.version)
        withdrawn = {version.name for version in self.versions if version.withdrawn}
        return next((name for name in reversed(trail[:-1]) if name not in {*withdrawn, trail[-1]}), None)

    def next_version(self) -> str:
        """The last version with the next patch number; v0.0.1 if there is none."""
        plain = (VERSION_PATTERN.fullmatch(version.name) for version in self.versions)
        numbers = [(int(match[1]), int(match[2]), int(match[3])) for match in plain if match]
        major, minor, patch = max(numbers, default=(0, 0, 0))
        return f"v{major}.{minor}.{patch + 1}"

    def next_number(self) -> int:
        """The number of the next move: GTO counts all stages of an artifact together."""
        found = (TAG_PATTERN.fullmatch(name) for name in self.tags)
        return max((int(match["number"] or 0) for match in found if match), default=0) + 1


def read_registry(workspace: Path) -> Registry:
    """Read the registry from the tags of this clone. Raises GitError."""
    versions: dict[str, Version] = {}
    withdrawn: set[str] = set()
    moves: list[Move] = []
    tags: dict[str, str] = {}
    newest: datetime | None = None
    for record in git(workspace, "for-each-ref", f"--format={_FORMAT}", *TAG_REFS).split("\0\0\n"):
        if not record:
            continue
        name, sha, commit, by, seconds, message = record.split("\0", 5)
        match = TAG_PATTERN.fullmatch(name)
        if match is None or not commit:  # GTO skips lightweight tags too
            continue
        at = datetime.fromtimestamp(int(seconds), UTC)
        tags[name], newest = sha, max(at, newest or at)
        fields = read_fields(message)
        if match["version"] and match["cancel"]:
            withdrawn.add(match["version"])
        elif match["version"]:
            why = fields.get("Why", _title(message))
            versions[match["version"]] = Version(match["version"], commit, at, by, why, _facts(fields))
        elif match["stage"] == STAGE:
            action: Literal["promote", "rollback"] = "rollback" if fields.get("Action") == "rollback" else "promote"
            why, ended = fields.get("Why", _title(message)), bool(match["cancel"])
            moves.append(Move(int(match["number"] or 0), "", commit, at, by, action, why, ended))
    names = {version.commit: version.name for version in versions.values()}
    return Registry(
        versions=tuple(
            replace(version, withdrawn=version.name in withdrawn)
            for version in sorted(versions.values(), key=lambda version: version.at)
        ),
        moves=tuple(
            replace(move, version=names.get(move.commit, move.commit[:7]))
            for move in sorted(moves, key=lambda move: (move.at, move.number))
        ),
        tags=tags,
        newest_at=newest,
    )


def tag_message(title: str, fields: dict[str, str]) -> str:
    """Return a tag's message: a title, then lines for `read_fields`. Line breaks in a value become blanks."""
    lines = [f"{name}: {' '.join(value.split())}" for name, value in fields.items() if value.strip()]
    return "\n".join([" ".join(title.split()), "", *lines]) + "\n"


def read_fields(message: str) -> dict[str, str]:
    """The fields of a tag's message. If a name is repeated, the first one counts."""
    fields: dict[str, str] = {}
    for line in message.partition("\n\n")[2].split("\n"):
        name, colon, value = line.partition(": ")
        if colon and re.fullmatch(r"[A-Z][A-Za-z-]*", name):
            fields.setdefault(name, value.rstrip())
    return fields


def fact_fields(facts: ModelFacts) -> dict[str, str]:
    """The fields from which `read_registry` reads a version's facts."""
    return {
        "Choice": facts.choice,
        "Family": facts.family,
        "Metric": facts.metric,
        "Figures": json.dumps(facts.figures, allow_nan=False),
        "Model": facts.model,
        "Weights": facts.weights,
        "Dataset": facts.dataset,
        "Raw-Data": facts.raw_data,
    }


def _facts(fields: dict[str, str]) -> ModelFacts | None:
    if "Weights" not in fields:
        return None
    try:
        figures = {str(name): float(value) for name, value in json.loads(fields.get("Figures", "{}")).items()}
    except (ValueError, AttributeError, TypeError):
        figures = {}  # another tool's tag, with a line of that name
    return ModelFacts(
        model=fields.get("Model", ""),
        weights=fields["Weights"],
        family=fields.get("Family", ""),
        dataset=fields.get("Dataset", ""),
        raw_data=fields.get("Raw-Data", ""),
        metric=fields.get("Metric", ""),
        figures=figures,
        choice=fields.get("Choice", ""),
    )


def _title(message: str) -> str:
    return message.strip().partition("\n")[0]

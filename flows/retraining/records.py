"""Records and costs of earlier retrainings, read from the commits that they left on their branches.

The branches are pushed, and every retraining fetches them first. So all clones have the same records.
"""

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, cast

from flows.git import git

BRANCHES = "retrain/"  # as in flows/runs/checkout.py: branch_name
COSTS = "metrics/cost"
Result = Literal["promoted", "rejected", "failed"]
_KEYS = ("Retraining", "Action", "Raw-data", "Champion", "Base", "Device-hours", "Reason", "Recipe")
_FORMAT = "%x1e%H%x1f%ct" + "".join(f"%x1f%(trailers:key={key},valueonly)" for key in _KEYS)
# Stages of the graph that a fine-tuning of production does not run.
_ONLY_TRAINING = ("train@", "evaluate@", "augment", "select")
FINETUNING = ("finetune", "evaluate-finetuned", "candidate")  # stages that a few-step model takes twice
_NOT_RETRAINING = ("generate", "report")


@dataclass(frozen=True)
class RetrainRecord:
    """One finished retraining. champion: the version in production then; "": none."""

    result: Result
    action: str
    raw_data: str  # DVC's hash of data/raw
    champion: str
    base: str  # the commit that it started from
    device_hours: float
    reason: str  # one line
    commit: str = ""
    at: datetime | None = None  # None: not committed yet
    recipe: str = ""  # of a rejection: hash of the code and parameters that it depends on (recipe.py)

    def message(self, title: str, text: str) -> str:
        """Return the message of the commit that contains the retraining's results."""
        values = (
            self.result,
            self.action,
            self.raw_data,
            self.champion or "none",
            self.base,
            f"{self.device_hours:.4f}",
            " ".join(self.reason.split()),
            self.recipe,
        )
        trailers = "\n".join(f"{key}: {value}" for key, value in zip(_KEYS, values, strict=True) if value)
        return f"{title}\n\n{text.strip()}\n\n{trailers}\n"


def fetch_records(workspace: Path, remote: str) -> None:
    """Fetch the branches of retrainings from the git remote, as `git fetch` does. Raises GitError."""
    branches = f"+refs/heads/{BRANCHES}*:refs/remotes/{remote}/{BRANCHES}*"
    git(workspace, "fetch", "--quiet", "--no-tags", remote, branches)


def read_records(workspace: Path) -> list[RetrainRecord]:
    """Return the records of all branches, newest first; commits without a valid record are skipped. Raises GitError."""
    answer = git(workspace, "log", "--all", "--grep=^Retraining: ", f"--format={_FORMAT}")
    found = [_parse(part.split("\x1f")) for part in answer.split("\x1e") if part.strip()]
    return [record for record in found if record is not None]


def is_recorded(workspace: Path, commit: str) -> bool:
    """Whether the current branch already records the promotion of `commit`, a commit of its own."""
    return bool(git(workspace, "log", "--format=%H", "--grep=^Retraining: promoted", f"{commit}..HEAD"))


def spent_device_hours(records: list[RetrainRecord], days: float, now: datetime) -> float:
    """Sum of the device hours of the retrainings in the last `days`."""
    return sum(record.device_hours for record in records if record.at and record.at >= now - timedelta(days=days))


def expected_device_hours(records: list[RetrainRecord], action: str) -> float | None:
    """Device hours of the last complete retraining with that action; None if there was none."""
    complete = (record for record in records if record.action == action and record.result != "failed")
    return next((record.device_hours for record in complete if record.device_hours > 0), None)


def failed_hours(records: list[RetrainRecord], raw_data: str, champion: str, base: str) -> float:
    """Device hours already counted by failed retrainings of this data, which were resumed later."""
    return sum(
        record.device_hours
        for record in records
        if record.result == "failed" and (record.raw_data, record.champion, record.base) == (raw_data, champion, base)
    )


def rejected_before(
    records: list[RetrainRecord], raw_data: str, champion: str, base: str, recipe: Callable[[], str]
) -> RetrainRecord | None:
    """The rejected retraining with this data, champion and code, if any: another attempt gives the same result.

    recipe: returns the recipe of the commit `base`; called only if another commit has a rejection with a recipe.
    """
    rejected = [
        record
        for record in records
        if record.result == "rejected" and (record.raw_data, record.champion) == (raw_data, champion)
    ]
    same = next((record for record in rejected if record.base == base), None)
    if same is None and any(record.recipe for record in rejected):
        wanted = recipe()
        same = next((record for record in rejected if record.recipe == wanted), None)
    return same


def device_hours_since(folder: Path, commit: str) -> float:
    """Device hours of the stages whose cost files differ from the commit's: they ran since, or were restored."""
    # -z: unquoted names. A stage's name may contain letters that git quotes otherwise.
    changed = git(folder, "diff", "--name-only", "-z", "--relative", commit, "--", COSTS).split("\0")
    changed += git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", COSTS).split("\0")
    return sum(_hours(folder / path) for path in set(changed) if path and (folder / path).is_file())


def hours_of(folder: Path, stages: Iterable[str]) -> float:
    """Device hours of these stages by a checkout's cost files."""
    paths = (folder / COSTS / f"{stage}.json" for stage in stages)
    return sum(_hours(path) for path in paths if path.is_file())


def device_hours_at(folder: Path, action: str, models: Collection[str]) -> float | None:
    """Device hours of a retraining with that action by a checkout's cost files; None if its main stage has none.

    models: of params.yaml. The files of removed ones do not count.
    """
    files = sorted((folder / COSTS).glob("*.json"))
    costs = {path.stem: _hours(path) for path in files if path.stem.partition("@")[2] in ("", *models)}
    if not any(stage.startswith("train@" if action == "train" else "finetune") for stage in costs):
        return None
    other = _NOT_RETRAINING if action == "train" else (*_NOT_RETRAINING, *_ONLY_TRAINING)
    return sum(hours for stage, hours in costs.items() if not stage.startswith(other))


def _hours(path: Path) -> float:
    """The device hours in a cost file, else its seconds on one device; 0 if it is damaged."""
    try:
        cost = json.loads(path.read_bytes())
        return float(cost.get("device_hours", cost["seconds"] / 3600))
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0.0


def _parse(fields: list[str]) -> RetrainRecord | None:
    commit, at, *values = (field.strip() for field in fields)
    try:
        result, action, raw, champion, base, hours, reason, recipe = values
        if result not in ("promoted", "rejected", "failed"):
            return None
        when = datetime.fromtimestamp(int(at), UTC)
        champion = "" if champion == "none" else champion
        return RetrainRecord(
            cast("Result", result), action, raw, champion, base, float(hours), reason, commit, when, recipe
        )
    except ValueError:
        return None

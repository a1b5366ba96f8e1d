"""What earlier retrainings did, from the commits that they left on their branches.

The branches are pushed, and every retraining fetches them first, so all clones know the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, cast

from flows.git import git

BRANCHES = "retrain/"  # as in flows/runs/checkout.py: branch_name
Result = Literal["promoted", "rejected", "failed"]
_KEYS = ("Retraining", "Action", "Raw-data", "Champion", "Base", "Device-hours", "Reason", "Recipe")
_FORMAT = "%x1e%H%x1f%ct" + "".join(f"%x1f%(trailers:key={key},valueonly)" for key in _KEYS)


@dataclass(frozen=True)
class Record:
    """One retraining that ended. champion: the version that was in production; "": none."""

    result: Result
    action: str
    raw_data: str  # DVC's hash of data/raw
    champion: str
    base: str  # the commit that it began from
    device_hours: float
    reason: str  # one line
    commit: str = ""
    at: datetime | None = None  # None: not committed yet
    recipe: str = ""  # of a rejection: hash of the code and parameters that it depends on (recipe.py)

    def message(self, title: str, text: str) -> str:
        """The message of the commit that holds what the retraining made."""
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
    """Take over the branches of retrainings from the git remote, as `git fetch` does. Raises GitError."""
    branches = f"+refs/heads/{BRANCHES}*:refs/remotes/{remote}/{BRANCHES}*"
    git(workspace, "fetch", "--quiet", "--no-tags", remote, branches)


def read_records(workspace: Path) -> list[Record]:
    """All records of all branches, the newest first. What is no record is passed over. Raises GitError."""
    answer = git(workspace, "log", "--all", "--grep=^Retraining: ", f"--format={_FORMAT}")
    found = [_record(part.split("\x1f")) for part in answer.split("\x1e") if part.strip()]
    return [record for record in found if record is not None]


def is_recorded(workspace: Path, commit: str) -> bool:
    """Whether the branch that is checked out says of a commit of its own, once promoted, that it was."""
    return bool(git(workspace, "log", "--format=%H", "--grep=^Retraining: promoted", f"{commit}..HEAD"))


def spent_device_hours(records: list[Record], days: float, now: datetime) -> float:
    """By the retrainings of the last `days`."""
    return sum(record.device_hours for record in records if record.at and record.at >= now - timedelta(days=days))


def expected_device_hours(records: list[Record], action: str) -> float | None:
    """What the last whole retraining of that kind took; None when there was none."""
    whole = (record for record in records if record.action == action and record.result != "failed")
    return next((record.device_hours for record in whole if record.device_hours > 0), None)


def failed_hours(records: list[Record], raw_data: str, champion: str, base: str) -> float:
    """What was counted already by retrainings of these data that failed and were taken up again."""
    return sum(
        record.device_hours
        for record in records
        if record.result == "failed" and (record.raw_data, record.champion, record.base) == (raw_data, champion, base)
    )


def rejected_before(
    records: list[Record], raw_data: str, champion: str, base: str, recipe: Callable[[], str]
) -> Record | None:
    """The retraining that was rejected with these data, this champion and this code: another would be the same.

    recipe: of the commit `base`; asked for only where there is a rejection from another commit.
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


def _record(fields: list[str]) -> Record | None:
    commit, at, *values = (field.strip() for field in fields)
    try:
        result, action, raw, champion, base, hours, reason, recipe = values
        if result not in ("promoted", "rejected", "failed"):
            return None
        when = datetime.fromtimestamp(int(at), UTC)
        champion = "" if champion == "none" else champion
        known = cast("Result", result)
        return Record(known, action, raw, champion, base, float(hours), reason, commit, when, recipe)
    except ValueError:
        return None

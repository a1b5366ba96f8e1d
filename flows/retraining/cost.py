"""What a retraining took, from the cost files of the stages that ran in it."""

import json
from pathlib import Path

from flows.git import git

COSTS = "metrics/cost"
# Stages of the graph that no fine-tuning of production runs.
_ONLY_TRAINING = ("train@", "evaluate@", "augment", "select")
_NOT_RETRAINING = ("generate", "report")


def device_hours_since(folder: Path, commit: str = "HEAD") -> float:
    """Of the stages whose cost differs from the commit's: those that ran since, or were restored from another run."""
    changed = git(folder, "diff", "--name-only", commit, "--", COSTS).split()
    changed += git(folder, "ls-files", "--others", "--exclude-standard", "--", COSTS).split()
    return sum(_hours((folder / path).read_bytes()) for path in set(changed) if (folder / path).is_file())


def device_hours_at(folder: Path, action: str) -> float | None:
    """What a retraining of that kind would have taken by a checkout's cost files; None: there are none."""
    costs = {path.stem: _hours(path.read_bytes()) for path in sorted((folder / COSTS).glob("*.json"))}
    taken = [
        hours
        for stage, hours in costs.items()
        if not stage.startswith(_NOT_RETRAINING) and (action == "train" or not stage.startswith(_ONLY_TRAINING))
    ]
    wanted = "train@" if action == "train" else "finetune"
    return sum(taken) if any(stage.startswith(wanted) for stage in costs) else None


def _hours(content: bytes) -> float:
    """Device hours where a stage tells them, else its seconds on one device."""
    try:
        cost = json.loads(content)
        return float(cost.get("device_hours", cost["seconds"] / 3600))
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0.0

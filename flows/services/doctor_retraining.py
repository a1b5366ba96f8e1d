"""`genai doctor`: a retraining that promoted its candidate, but did not finish."""

from pathlib import Path

from flows.registry.interrupted import unfinished
from flows.services.check import Check
from flows.workspace import is_at_work


def check_retraining(workspace: Path) -> Check:
    """Retrainings that were killed between the promotion and the merge."""
    if is_at_work(workspace, "retraining"):
        return Check("retraining", "ok", "one is running")
    left = unfinished(workspace)
    if left:
        return Check("retraining", "warn", "; ".join(entry.sentence for entry in left), "genai retrain finishes it")
    return Check("retraining", "ok", "none was interrupted after its promotion")

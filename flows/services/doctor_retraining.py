"""`genai doctor`: a retraining that moved production, and did not come to its end."""

from pathlib import Path

from flows.registry.interrupted import unfinished
from flows.services.check import Check
from flows.workspace import is_at_work


def check_retraining(workspace: Path) -> Check:
    """What a killed retraining left between the promotion and the merge."""
    if is_at_work(workspace, "retraining"):
        return Check("retraining", "ok", "one is at work")
    left = unfinished(workspace)
    if left:
        return Check("retraining", "warn", "; ".join(entry.sentence for entry in left), "genai retrain finishes it")
    return Check("retraining", "ok", "none was interrupted after its promotion")

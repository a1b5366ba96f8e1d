"""`genai doctor`: retrainings that did not finish, and settings with which none can pass the gate."""

import json
from pathlib import Path

from flows.registry.interrupted import unfinished
from flows.services.check import Check
from flows.workspace import lock_owner
from genai_core.config import PARAMS_FILE, load_config

_DATASET = Path("data/prepared/dataset.json")


def check_retraining(workspace: Path) -> Check:
    """Retrainings that were killed between the promotion and the merge."""
    if lock_owner(workspace, "retraining"):
        return Check("retraining", "ok", "one is running")
    left = unfinished(workspace)
    if left:
        return Check("retraining", "warn", "; ".join(entry.sentence for entry in left), "genai retrain finishes it")
    return Check("retraining", "ok", "none was interrupted after its promotion")


def check_gate(workspace: Path) -> Check:
    """The extractor must be a classifier for the gate to check labels (flows/retraining/foreseen.py)."""
    config, path = load_config(workspace / PARAMS_FILE), workspace / _DATASET
    kind, most = config.extractor.kind, config.gate.max_accuracy_drop
    if kind in ("auto", "classifier") or most >= 1:  # auto: the gate has nothing to check where there are no classes
        return Check("gate", "ok", "labels are checked" if most < 1 else "labels are not checked")
    found = f"extractor.kind is {kind}, so the gate cannot check labels (gate.max_accuracy_drop: {most:g})"
    classes = json.loads(path.read_text())["classes"] if path.is_file() else None
    if classes == []:
        return Check("gate", "ok", "the images have no classes")
    which = f"the images have {len(classes)} classes" if classes else "if the images have classes"
    todo = "set extractor.kind to classifier and selection.metric to fd_classifier, or gate.max_accuracy_drop to 1"
    return Check("gate", "warn", f"{found}; {which}: it rejects every retraining after the first promotion", todo)

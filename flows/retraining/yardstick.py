"""How well the classifier did by which production was measured when it was made, from its commit's figures."""

import json
from pathlib import Path

from flows.git import GitError, git
from flows.registry.read import Move
from flows.retraining.gate import label_accuracy

# The candidate's own figures; those of the trained models may be older than a fine-tuning of production.
_FIGURES = "metrics/finetuned.json"


def production_label_accuracy(folder: Path, production: Move | None) -> float | None:
    """None: nothing is in production, its extractor was no classifier, or its figures are not known."""
    if production is None:
        return None
    try:
        figures = json.loads(git(folder, "show", f"{production.commit}:./{_FIGURES}"))
        return label_accuracy(figures["protocol"])
    except (GitError, ValueError, KeyError, TypeError, AttributeError):
        return None

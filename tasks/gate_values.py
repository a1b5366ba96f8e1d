"""The block "gate" of a comparison: the values that flows/retraining/gate.py needs, under its names."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from genai_core.config import Config
from genai_core.evaluation.features import Features
from genai_core.evaluation.groups import group_by_similarity
from genai_core.evaluation.model_comparison import Comparison, distance_name, recall_at_floor_size
from genai_core.evaluation.model_evaluation import Evaluation
from genai_core.evaluation.reference import Reference
from genai_core.evaluation.set_figures import Resamples, coverage_by_class, sample_set
from tasks.drawn import DrawnImages


def gate_values(
    evaluations: list[Evaluation],
    drawn: list[DrawnImages],
    features: list[Features],
    compared: Comparison | None,
    reference: Reference,
    config: Config,
) -> dict[str, Any]:
    """Return the values for one model, or for two with their comparison; the candidate is the last.

    The distance is to the split in gate.against. Recall and coverage are of the training images, as for the recall of
    held-out real images. Both recalls use equally many images, because recall depends on their number.
    """
    real, evaluation = reference.description, config.evaluation
    metric = distance_name(real.kind, config.gate.against)
    models = [
        {
            "distance": measured.figures[metric].value,
            "scale": max(measured.figures[f"fd_{real.kind}"].value, real.floor_fd),
            "memorised_share": measured.figures[f"near_copies_{real.kind}"].value,
            "recall": recall_at_floor_size(found, images.labels, reference, evaluation),
            "class_coverage": {
                name: figure.value for name, figure in measured.by_class[f"coverage_{real.kind}_class"].items()
            }
            if real.classes
            else _group_coverage(found, reference, config),
        }
        for measured, images, found in zip(evaluations, drawn, features, strict=True)
    ]
    difference = compared.differences[metric] if compared else None
    return {
        "metric": metric,
        "candidate": models[-1],
        "champion": models[0] if compared else None,
        "difference": {"value": difference.value, **asdict(difference.interval)} if difference else None,
        "same_protocol": True,  # both were measured in this run
        "recall_of_real": real.floor["recall"],
        "recall_images": real.floor_images,
        "classes": list(real.classes),
    }


def _group_coverage(features: Features, reference: Reference, config: Config) -> dict[str, float]:
    """Return the coverage of groups of similar training images, used instead of classes."""
    train, evaluation = reference.splits["train"], config.evaluation
    groups = np.full(len(train.features), -1, dtype=np.int64)
    groups[train.pairwise] = group_by_similarity(train.features[train.pairwise], evaluation.seed)
    sample = sample_set(features.features, None, evaluation)
    resamples = Resamples(len(sample.features), None, evaluation)
    count = int(groups.max()) + 1
    found = coverage_by_class(sample, replace(train, labels=groups), resamples, count)
    return {f"group {group + 1}": figure.value for group, figure in found.items()}

"""Evaluations during a training for `genai search`, which sets GENAI_RUNGS. They change nothing in the outputs."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from genai_core.config import SamplingConfig
from genai_core.models.protocol import GenerativeModel
from genai_core.training.rungs import Rungs

VARIABLE = "GENAI_RUNGS"  # {"shares": [0.2, 0.6], "images": 250}
RUNGS_DIR = Path(".genai/rungs")


def requested_rungs(
    stage: str,
    sampling: SamplingConfig | None,
    evaluation: Callable[[int, SamplingConfig | None], Callable[[GenerativeModel], float]],
) -> Rungs | None:
    """Return the rungs that the environment asks for; None if it asks for none.

    sampling: with which the model is measured later; None: as previews are drawn. evaluation: makes the function that
    measures a model with so many images and this sampling. Each rung becomes a line of .genai/rungs/STAGE.jsonl:
    {"share", "images", "distance"}. A resumed training writes its earlier rungs again.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    values = json.loads(text)
    path = RUNGS_DIR / f"{stage}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)

    def report(share: float, images: int, distance: float) -> None:
        with path.open("a") as file:
            file.write(json.dumps({"share": share, "images": images, "distance": distance}) + "\n")

    how = {"generated": values["images"], "sampling": sampling.model_dump(mode="json") if sampling else None}
    return Rungs(tuple(values["shares"]), how, evaluation(values["images"], sampling), report)

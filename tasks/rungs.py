"""Evaluations during a training for `genai search`, which sets GENAI_RUNGS. They change nothing in the outputs."""

import json
import os
from collections.abc import Callable
from typing import Any

from genai_core.config import SamplingConfig
from genai_core.models.protocol import GenerativeModel
from genai_core.progress import Progress
from genai_core.training.rungs import Rungs

VARIABLE = "GENAI_RUNGS"  # {"shares": [0.2, 0.6], "images": 250}
KEPT = "rungs"  # in the training's progress file


def requested_rungs(
    progress: Progress,
    sampling: SamplingConfig | None,
    evaluation: Callable[[int, SamplingConfig | None], Callable[[GenerativeModel], float]],
) -> Rungs | None:
    """Return the rungs that the environment asks for; None if it asks for none.

    sampling: with which the model is measured later; None: as previews are drawn. evaluation: makes the function that
    measures a model with so many images and this sampling. The progress file has the rungs so far, a list of {"share",
    "images", "distance"}: so they reach the search from whichever machine trains. A resumed training writes its earlier
    rungs again.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    values = json.loads(text)
    reported: list[dict[str, Any]] = []

    def report(share: float, images: int, distance: float) -> None:
        reported.append({"share": share, "images": images, "distance": distance})
        progress.keep(KEPT, reported)

    how = {"generated": values["images"], "sampling": sampling.model_dump(mode="json") if sampling else None}
    return Rungs(tuple(values["shares"]), how, evaluation(values["images"], sampling), report)

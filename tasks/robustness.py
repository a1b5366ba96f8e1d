"""Figures of disturbed images as tables for `dvc plots` and the report: one file per kind, one row per strength."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genai_core.config import Config
from genai_core.evaluation.disturb import disturbed_points
from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.evaluation.reference import Reference


def write_curves(
    folder: Path,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None,
    extractor: tuple[FeatureNetwork, ExtractorDescription],
    reference: Reference,
    config: Config,
) -> None:
    """Write robustness-noise.csv, -blur.csv and -jpeg.csv for images (N, C, H, W), in random order, and labels (N,)."""
    network, description = extractor
    train = reference.splits["train"]
    requested = labels if description.kind == "classifier" else None
    points = disturbed_points(
        network, images, requested, train.stats, train.root, config.robustness, config.evaluation.batch_images
    )
    for kind in dict.fromkeys(point.kind for point in points):
        rows: list[Sequence[object]] = [
            ("strength", *([] if requested is None else ["label_agreement"]), f"fd_{description.kind}")
        ]
        for point in points:
            if point.kind == kind:
                agreement = [] if point.agreement is None else [f"{point.agreement:.6g}"]
                rows.append((f"{point.strength:g}", *agreement, f"{point.distance:.6g}"))
        text = "\n".join(",".join(map(str, row)) for row in rows) + "\n"
        (folder / f"robustness-{kind}.csv").write_text(text)

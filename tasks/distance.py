"""Measure the distance of added images to old ones: `python -m tasks.distance BEFORE AFTER OUT [--extractor FOLDER]`.

Not a stage of dvc.yaml: `genai data diff` runs it, on dataset folders with the necessary shards. Writes OUT, JSON.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genai_core.config import PARAMS_FILE, load_config
from genai_core.data.dataset.compare import added_rows
from genai_core.data.dataset.dataset import SPLITS, load_dataset
from genai_core.evaluation.shift import measure_shift, small_pixels
from tasks.context import write_json
from tasks.errors import one_line

# More images hardly change a distance, and features take time.
MAX_IMAGES = 20_000
SEED = 0
BATCH_IMAGES = 250

Measure = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.distance", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--extractor", type=Path, help="by default, pixels averaged to 8 x 8")
    arguments = parser.parse_args()
    with one_line("distance"):
        before = load_dataset(arguments.before, needs_pixels=False)
        after = load_dataset(arguments.after, needs_pixels=False)
        random = np.random.default_rng(SEED)
        features = []
        name, measure = feature(arguments.extractor)
        parts = [(after, added_rows(before, after)), *((before, before.rows(split)) for split in SPLITS)]
        for dataset, rows in parts:
            chosen = np.sort(random.permutation(len(rows))[:MAX_IMAGES])
            features.append(measure(dataset.images_at(rows.iloc[chosen])))
        shift = measure_shift(*features, seed=SEED)
        values: dict[str, Any] = dataclasses.asdict(shift)
        write_json(arguments.out, {"feature": name, **values, "too_few": shift.too_few})


def feature(extractor: Path | None) -> tuple[str, Measure]:
    """Return the name of the feature, and the function that computes it from images."""
    if extractor is None:
        return "pixels_8x8", small_pixels
    # Imported only here, because torch takes seconds.
    from genai_core.evaluation.extractor import load_extractor
    from genai_core.evaluation.features import extract_features
    from tasks.device import torch_device

    config = load_config(Path(PARAMS_FILE))
    network, description = load_extractor(extractor, config.extractor, torch_device(config))
    return description.kind, lambda images: extract_features(network, images, BATCH_IMAGES).features


if __name__ == "__main__":
    main()

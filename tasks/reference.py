"""The stage `reference`: features and statistics of the real images, per dataset version. Writes data/reference.

Also writes plots/evaluated/real: the figures of held-out images when they are disturbed.
"""

from pathlib import Path

import numpy as np

from genai_core.data.dataset.dataset import SPLITS, Dataset, load_dataset
from genai_core.evaluation.extractor import load_extractor
from genai_core.evaluation.feature_network import FeatureNetwork
from genai_core.evaluation.features import bf16_drift, extract_features
from genai_core.evaluation.reference import RealImages, build_reference, save_reference
from tasks.context import new_folder, running
from tasks.device import torch_device
from tasks.robustness import write_curves

DATASET = Path("data/prepared")
EXTRACTOR = Path("models/extractor")
REFERENCE = Path("data/reference")
PLOTS = Path("plots/evaluated/real")
DRIFT_IMAGES = 256


def main() -> None:
    with running("reference") as context:
        config, progress = context.config.evaluation, context.progress
        dataset = load_dataset(DATASET)
        extractor, description = load_extractor(EXTRACTOR, context.config.extractor, torch_device(context.config))
        if description.precision == "bf16":
            print_drift(extractor, dataset)
        features = {}
        for split in SPLITS:
            progress.begin(f"features of {split}", total=dataset.info.counts[split], unit="images")
            features[split] = extract_features(
                extractor, dataset.images(split), config.batch_images, on_progress=progress.update
            )
        info = dataset.info
        images = RealImages(
            dataset=info.fingerprint,
            classes=info.classes,
            image_size=info.image_size,
            channels=info.channels,
            labels={split: dataset.labels(split) for split in SPLITS},
        )
        reference = build_reference(features, images, description, config)
        # Chosen at random, because the manifest may be sorted by class.
        chosen = np.random.default_rng(config.seed).permutation(info.counts["test"])[: context.config.robustness.images]
        held_out, labels = dataset.images("test")[chosen], dataset.labels("test")
        requested = None if labels is None else labels[chosen]
        with new_folder(PLOTS) as folder:
            write_curves(folder, held_out, requested, (extractor, description), reference, context.config)
        with new_folder(REFERENCE) as folder:
            save_reference(folder, reference)
        real = reference.description
        print(f"reference: floor fd_{real.kind} {real.floor_fd:.4g} ({real.floor_images:,} held-out images)")


def print_drift(extractor: FeatureNetwork, dataset: Dataset) -> None:
    """Print how much bf16 changes the features of some held-out images."""
    drift = bf16_drift(extractor, dataset.images("test")[:DRIFT_IMAGES])
    print(
        f"reference: bf16 changes the features of {drift.images} images by {drift.relative_change:.3%} of their "
        f"standard deviation; Fréchet distance to the same images in float32 {drift.frechet_distance:.3g}"
    )


if __name__ == "__main__":
    main()

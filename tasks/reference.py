"""The stage `reference`: features and statistics of the real images, once a dataset version. Writes data/reference."""

from pathlib import Path

from genai_core.data.dataset import SPLITS, load_dataset
from genai_core.evaluation.extractor import load_extractor
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.reference import build_reference, save_reference
from tasks.context import new_folder, running
from tasks.device import torch_device

DATASET = Path("data/prepared")
EXTRACTOR = Path("models/extractor")
REFERENCE = Path("data/reference")


def main() -> None:
    with running("reference") as context:
        config, progress = context.config.evaluation, context.progress
        dataset = load_dataset(DATASET)
        extractor, description = load_extractor(EXTRACTOR, torch_device(context.config))
        features = {}
        for split in SPLITS:
            progress.begin(f"features of {split}", total=dataset.info.counts[split], unit="images")
            features[split] = extract_features(
                extractor, dataset.images(split), config.batch_images, on_progress=progress.update
            )
        reference = build_reference(
            features,
            config,
            kind=description.kind,
            extractor_sha256=description.sha256,
            dataset=dataset.info.fingerprint,
        )
        with new_folder(REFERENCE) as folder:
            save_reference(folder, reference)
        real = reference.description
        print(f"reference: floor fd_{real.kind} {real.floor_fd:.4g} ({real.floor_images:,} held-out images)")


if __name__ == "__main__":
    main()

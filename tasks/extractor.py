"""The stage `extractor`: the network whose features the figures are measured in. Writes models/extractor.

A network that learns the dataset is trained here. An external one is verified by its hash and copied as safetensors, so
that later stages need neither the original file nor network access.
"""

from pathlib import Path

import torch

from genai_core.config import InceptionExtractorConfig, TrainedExtractorConfig
from genai_core.data.dataset.dataset import load_dataset
from genai_core.evaluation.extractor import save_extractor
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from tasks.context import Context, new_folder, running
from tasks.device import torch_device

DATASET = Path("data/prepared")
EXTRACTOR = Path("models/extractor")


def main() -> None:
    with running("extractor") as context:
        device = torch_device(context.config)
        extractor, description = make(context, device)
        with new_folder(EXTRACTOR) as folder:
            described = save_extractor(folder, extractor, description)
        accuracy = "" if described.test_accuracy is None else f", test accuracy {described.test_accuracy:.4f}"
        print(f"extractor: {described.kind}, {described.feature_dim} features{accuracy}")


def make(context: Context, device: torch.device) -> tuple[FeatureNetwork, ExtractorDescription]:
    """Return the configured network: trained here, or external."""
    config = context.config.extractor
    if isinstance(config, TrainedExtractorConfig):
        context.progress.begin("extractor", total=config.total_images, unit="images")
        trained = train_extractor(config, load_dataset(DATASET), device, context.progress.update)
        context.cost["images_per_second"] = round(context.progress.per_second(config.total_images))
        return trained
    if isinstance(config, InceptionExtractorConfig):
        from genai_core.evaluation.inception import given_inception  # the import takes two seconds

        return given_inception(config)
    from genai_core.evaluation.user_module import given_module

    return given_module(config, load_dataset(DATASET).info.image_size)


if __name__ == "__main__":
    main()

"""The stage `extractor`: train the network whose features the figures are measured in. Writes models/extractor."""

from pathlib import Path

from genai_core.data.dataset import load_dataset
from genai_core.evaluation.extractor import save_extractor
from genai_core.evaluation.extractor_training import train_extractor
from tasks.context import new_folder, running
from tasks.device import torch_device

DATASET = Path("data/prepared")
EXTRACTOR = Path("models/extractor")


def main() -> None:
    with running("extractor") as context:
        config = context.config.extractor
        device = torch_device(context.config)
        context.progress.begin("extractor", total=config.total_images, unit="images")
        extractor, description = train_extractor(config, load_dataset(DATASET), device, context.progress.update)
        with new_folder(EXTRACTOR) as folder:
            save_extractor(folder, extractor, description)
        context.cost["images_per_second"] = round(context.progress.per_second(config.total_images))
        print(f"extractor: {description.kind}, test accuracy {description.test_accuracy:.4f}")


if __name__ == "__main__":
    main()

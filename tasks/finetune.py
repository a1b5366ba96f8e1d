"""The stage `finetune`: continue training the selected model, or production's, on images that are not augmented.

Reads models/selected or models/champion, according to finetune.start, and data/prepared; writes models/finetuned and
plots/finetuned.
"""

import argparse
from pathlib import Path

import torch

from genai_core.config import FinetuneConfig, TrainingConfig
from genai_core.data.dataset.dataset import load_dataset
from genai_core.models.artifact import WEIGHTS_FILE, load_for_training, read_config
from tasks.context import running
from tasks.device import torch_device
from tasks.training import run_training, shape_of


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with running("finetune") as context:
        device, start = torch_device(context.config), Path("models") / context.config.finetune.start
        description = read_config(start)
        dataset = load_dataset(Path("data/prepared"))
        shape = shape_of(dataset)
        if shape != description.shape:
            raise ValueError(
                f"{start} generates images of {description.shape}; data/prepared has images of {shape}; train the "
                "models again"
            )
        training = finetuning(description.config.training, context.config.finetune)
        recipe = description.config.model_copy(update={"training": training})
        torch.manual_seed(training.seed)
        run_training(
            context,
            load_for_training(start),
            recipe,
            dataset,
            device,
            to=Path("finetuned"),
            origin={"started from": f"weights {description.sha256[WEIGHTS_FILE]}"},
            from_average=True,
        )


def finetuning(own: TrainingConfig, config: FinetuneConfig) -> TrainingConfig:
    """Return the model's own training section with the values of the finetune section replaced."""
    changes = config.model_dump(exclude={"start", "learning_rate_share"})
    changes["learning_rate"] = own.learning_rate * config.learning_rate_share
    return own.model_copy(update=changes)


if __name__ == "__main__":
    main()

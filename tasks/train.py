"""The stages `train`: train one model of params.yaml on the augmented images.

`python -m tasks.train NAME` reads data/augmented; it writes models/trained/NAME and plots/trained/NAME.
"""

import argparse
from pathlib import Path

import torch

from genai_core.data.dataset.dataset import load_dataset
from genai_core.models.artifact import build_model
from tasks.context import running
from tasks.device import torch_device
from tasks.training import check_batch, run_training, shape_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a key of models in params.yaml")
    name = parser.parse_args().name
    with running(f"train@{name}") as context:
        config, device = context.config.model(name), torch_device(context.config)
        dataset = load_dataset(Path("data/augmented"))
        key, shape = f"models.{name}.training.batch_images", shape_of(dataset)
        check_batch(key, config.training.batch_images, shape, context.config, device)
        torch.manual_seed(config.training.seed)
        model = build_model(config, shape)
        origin, to = {"started from": "nothing"}, Path("trained") / name
        run_training(context, model, config, dataset, device, to=to, origin=origin, sampling=config.sampling)


if __name__ == "__main__":
    main()

"""The stage `finetune`: continue training a model, as `finetune:` says.

Reads models/selected or models/base, according to finetune.start, and data/prepared or data/augmented; writes
models/finetuned and plots/finetuned.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genai_core.config import DistilledRecipe, FinetuneConfig, ModelRecipe, TrainingConfig
from genai_core.counted import counted
from genai_core.data.dataset.dataset import Dataset, load_dataset
from genai_core.data.dataset.facts import Indices
from genai_core.data.dataset.seen import SEEN_FILE, are_new, epoch_with_replay
from genai_core.models.adapting.adapt import Adapted, adapted
from genai_core.models.adapting.lora import add_lora, merge_lora
from genai_core.models.artifact import WEIGHTS_FILE, ModelDescription, read_config
from genai_core.models.protocol import Distilling, GenerativeModel
from genai_core.sampling.sample import proportional_labels
from genai_core.training.rates import learning_rates
from tasks.context import Context, running
from tasks.device import torch_device
from tasks.training import Continuation, run_training, shape_of

PAIRS = Path(".genai/cache/pairs")  # what a teacher drew, until the next one does

# How the stage trains, by finetune.kind: changes the model in place, and returns how to go on with it.
Kind = Callable[[GenerativeModel, FinetuneConfig], Continuation]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with running("finetune") as context:
        config = context.config.finetune
        start = Path("models") / config.start
        description = read_config(start)
        dataset = load_dataset(Path("data") / config.dataset)
        training = finetuning(description.config.training, config)
        torch.manual_seed(training.seed)
        found = adapted(start, shape_of(dataset))
        _tell(context, *(f"{start}: {change}" for change in found.changes))
        epoch = epoch_of(dataset, start, config)
        if epoch is None and config.images != "all":
            _tell(context, f"finetune.images: {config.images} is for a base; {start} was trained on all images")
        if epoch is not None:
            new = int(are_new(dataset, start / SEEN_FILE).sum())
            _tell(context, f"{counted(new, 'new image')} of {dataset.info.counts['train']:,} to train on")
        recipe, device = description.config.model_copy(update={"training": training}), torch_device(context.config)
        if config.kind == "few_step":
            found.model.to(device).eval()
            distilling = few_step(context, found, recipe, description.sha256[WEIGHTS_FILE], dataset)
            model, recipe, how = distilling.model, distilling.recipe, Continuation()
        else:
            if isinstance(recipe, DistilledRecipe):
                raise ValueError(
                    f"{start}: finetune.kind: got {config.kind}; no kind continues a few-step model: train or continue "
                    "the model that it was made from, and then make a few-step model of that again"
                )
            model, how = found.model, KINDS[config.kind](found.model, config)
        run_training(
            context,
            model,
            recipe,
            dataset,
            device,
            to=Path("finetuned"),
            origin=origin_of(description, found, config),
            continuation=replace(how, settings=settings_of(config), epoch=epoch),
        )


def finetuning(own: TrainingConfig, config: FinetuneConfig) -> TrainingConfig:
    """Return the model's own training section with the values of the finetune section replaced."""
    changes = {name: value for name, value in config if name in TrainingConfig.model_fields}
    changes["learning_rate"] = own.learning_rate * config.learning_rate_share
    return own.model_copy(update=changes)


def epoch_of(dataset: Dataset, start: Path, config: FinetuneConfig) -> Indices | None:
    """Return the rows of the train split that an epoch consists of; None for each once.

    The selected model was trained on this very split: for it, nothing is new, and everything is used.
    """
    if config.images == "all" or config.start == "selected":
        return None
    share = config.replay_share if config.images == "replay" else 0.0
    return epoch_with_replay(are_new(dataset, start / SEEN_FILE), share, config.seed)


def settings_of(config: FinetuneConfig) -> dict[str, Any]:
    """Return what shapes the result and is not in the training section."""
    return config.model_dump(mode="json", exclude=set(TrainingConfig.model_fields))


def origin_of(description: ModelDescription, found: Adapted, config: FinetuneConfig) -> dict[str, Any]:
    """Return where the model comes from, for its config.json and its card. Usual settings are left out."""
    origin: dict[str, Any] = {"started from": f"weights {description.sha256[WEIGHTS_FILE]}"}
    if found.changes:
        origin["adapted"] = "; ".join(found.changes)
    if config.kind == "lora":
        origin["low-rank changes"] = f"rank {config.lora.rank}, alpha {config.lora.alpha:g}, merged"
    if config.kind == "few_step":
        teacher = config.few_step.teacher
        origin["few steps"] = f"learned from {config.few_step.pairs:,} images that these weights drew"
        origin["teacher's sampling"] = teacher.model_dump(mode="json")
    if config.images != "all" and config.start != "selected":
        old = f", and {config.replay_share:.0%} old ones" if config.images == "replay" else ""
        origin["learned from"] = f"images new to it{old}"
    if config.dataset == "augmented":
        origin["dataset of the fine-tuning"] = "augmented"
    if config.first_layer_rate < 1.0:
        origin["learning rate of the first layer"] = f"{config.first_layer_rate:g} of the last one's"
    if config.class_rate != 1.0:
        origin["learning rate of the class embeddings"] = f"{config.class_rate:g} times the last layer's"
    if config.frozen:
        origin["frozen"] = ", ".join(config.frozen)
    return origin


def full(model: GenerativeModel, config: FinetuneConfig) -> Continuation:
    """Train the weights themselves."""
    is_usual = config.first_layer_rate == config.class_rate == 1.0 and not config.frozen
    return Continuation(rates=None if is_usual else rates_of(model, config))


def lora(model: GenerativeModel, config: FinetuneConfig) -> Continuation:
    """Train low-rank changes of the layers, which are merged into the weights at the end."""
    rates = rates_of(model, config)
    return Continuation(merge_lora, add_lora(model, config.lora.rank, config.lora.alpha, rates))


def rates_of(model: GenerativeModel, config: FinetuneConfig) -> dict[str, float]:
    """Return the factor of the learning rate for each weight that is trained."""
    return learning_rates(model, config.first_layer_rate, config.frozen, config.class_rate)


def few_step(context: Context, found: Adapted, recipe: ModelRecipe, weights: str, dataset: Dataset) -> Distilling:
    """Let the teacher draw its images, in the proportions of the training images, and return the student's training."""
    if found.changes:
        raise ValueError(
            f"finetune.kind: got few_step, but the model does not fit the data ({'; '.join(found.changes)}): continue "
            "it with kind full first, and make a few-step model of the result"
        )
    config = context.config.finetune.few_step
    labels = dataset.labels("train")
    counts = [] if labels is None else np.bincount(labels, minlength=len(dataset.info.classes)).tolist()
    context.progress.begin("teacher", total=config.pairs, unit="images")
    return found.model.distillation(
        recipe, config, weights, proportional_labels(config.pairs, counts), PAIRS, context.progress.update
    )


KINDS: dict[str, Kind] = {"full": full, "lora": lora}


def _tell(context: Context, *lines: str) -> None:
    if context.is_first:
        for line in lines:
            print(line, flush=True)


if __name__ == "__main__":
    main()

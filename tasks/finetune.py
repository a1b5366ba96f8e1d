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

from genai_core.config import DistilledRecipe, FinetuneConfig, ModelRecipe, SamplingConfig, TrainingConfig
from genai_core.data.dataset.dataset import Dataset, load_dataset
from genai_core.data.dataset.seen import SEEN_FILE, SKIPPED, UNSEEN_FILE, count_seen_held_out, renamed_classes
from genai_core.models.adapting.adapt import Adapted, adapted
from genai_core.models.adapting.automatic import FinetuneRates, finetune_rates
from genai_core.models.adapting.lora import add_lora, merge_lora
from genai_core.models.artifact import WEIGHTS_FILE, ModelDescription, read_config, selected_sampling
from genai_core.models.protocol import GenerativeModel, Lesson, Trainee
from genai_core.sampling.sample import proportional_labels
from genai_core.training.moments import Moments, weights_in, without_weights
from genai_core.training.rates import learning_rates
from tasks.context import Context, running
from tasks.device import torch_device
from tasks.learned_images import Learned, classes_of_their_own, classes_to_learn, learned_images
from tasks.optimizers import kept_moments
from tasks.training import Continuation, check_batch, run_training, shape_of

# In a fine-tuned model's summary, for the next fine-tuning.
OWN_RATE, OWN_BATCH = "learning rate of the training from scratch", "images per step of the training from scratch"
PAIRS = Path(".genai/cache/pairs")  # what a teacher drew, until the next one does

# How the stage trains, by finetune.kind: changes the model in place, and returns how to go on with it.
Kind = Callable[[GenerativeModel, FinetuneConfig, FinetuneRates], Continuation]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with running("finetune") as context:
        config = context.config.finetune
        start = Path("models") / config.start
        description = read_config(start)
        if isinstance(description.config, DistilledRecipe):
            raise ValueError(
                f"{start}: this is a few-step model, which nothing continues: continue its teacher, the model with the "
                f"weights {description.config.few_step.teacher[:12]}"
            )
        dataset = load_dataset(Path("data") / config.dataset)
        torch.manual_seed(config.seed)
        names = renamed_classes(dataset, start / SEEN_FILE, description.shape.classes)
        found = adapted(start, shape_of(dataset), names)
        found = replace(found, new_classes=classes_to_learn(context, dataset, start, names, found))
        own = own_training(description)
        rates = finetune_rates(config, len(found.new_classes), own.batch_images)
        context.tell(*(f"{start}: {change}" for change in found.changes), rates.understood)
        own_classes = classes_of_their_own(context, dataset, start, names, description.shape, found)
        learned = learned_images(context, dataset, start, names, own_classes)
        if own_classes:
            own_network = found.model.with_own_network(found.recipe, own_classes)
            found = replace(found, model=own_network.model, recipe=own_network.recipe)
        seen = count_seen_held_out(dataset, start / SEEN_FILE)
        if seen:
            context.tell(
                f"{start}: trained on {seen:,} of the {dataset.info.counts['test']:,} images that are held out now, so "
                "figures from held-out images are too good",
            )
        training = finetuning(own, config, rates)
        recipe, device = found.recipe.model_copy(update={"training": training}), torch_device(context.config)
        check_batch("finetune.batch_images", training.batch_images, shape_of(dataset), context.config, device)
        labels = dataset.labels("train")
        if labels is not None and learned.epoch is not None:
            found.model.learn_only(np.unique(labels[learned.epoch]).tolist())
        if config.kind == "few_step":
            found.model.to(device).eval()
            distilling = few_step(context, found, recipe, description.sha256[WEIGHTS_FILE], dataset)
            model, recipe, how = distilling.model, distilling.recipe, Continuation()
        else:
            model, how = found.model, KINDS[config.kind](found.model, config, rates)
            if config.optimizer == "restored":
                how = replace(how, moments=moments_of_base(context, description, found, own_classes))
            if own_classes:  # the images of all others are drawn as ever, so no evaluation of them tells when to stop
                unseen = {} if learned.unseen is None else {UNSEEN_FILE: learned.unseen}
                how = replace(how, evaluated=learned.epoch, arrays=unseen)
        run_training(
            context,
            model,
            recipe,
            dataset,
            device,
            to=Path("finetuned"),
            origin=origin_of(description, own, found, config, rates, seen, learned, is_restored=bool(how.moments)),
            continuation=replace(how, settings=settings_of(config), epoch=learned.epoch),
            sampling=None if config.kind == "few_step" else selected_sampling(start),
        )


def own_training(description: ModelDescription) -> TrainingConfig:
    """Return the training section with the learning rate and the batch of the model's training from scratch.

    A fine-tuned model's own section has those of its fine-tuning. Shares of shares would soon be nothing.
    """
    training, known = description.config.training, description.training_summary
    return training.model_copy(
        update={
            "learning_rate": known.get(OWN_RATE, training.learning_rate),
            "batch_images": known.get(OWN_BATCH, training.batch_images),
        }
    )


def finetuning(own: TrainingConfig, config: FinetuneConfig, rates: FinetuneRates) -> TrainingConfig:
    """Return the model's own training section with the values of the finetune section replaced."""
    changes = {name: value for name, value in config if name in TrainingConfig.model_fields}
    changes |= {"batch_images": rates.batch, "learning_rate": own.learning_rate * rates.share}
    return own.model_copy(update=changes)


def moments_of_base(
    context: Context, description: ModelDescription, found: Adapted, own_classes: tuple[str, ...]
) -> Moments | None:
    """Return what the optimizers of the base knew at its end, without weights that are no longer the same.

    Nothing for a network that only these classes have. Raises FileNotFoundError when that was not kept.
    """
    if own_classes:
        context.tell("finetune.optimizer: restored, but fresh for the network of the new classes")
        return None
    start = Path("models") / context.config.finetune.start
    moments = kept_moments(description.sha256[WEIGHTS_FILE], start)
    if found.changed_weights:
        context.tell(f"finetune.optimizer: restored, but fresh for {', '.join(sorted(found.changed_weights))}")
    left = {name for name, _ in found.model.named_parameters()} - weights_in(moments) - found.changed_weights
    if left:
        context.tell(f"finetune.optimizer: restored, but fresh for {len(left):,} weights that were not trained last")
    return without_weights(moments, found.changed_weights)


def settings_of(config: FinetuneConfig) -> dict[str, Any]:
    """Return what shapes the result and is not in the training section."""
    return config.model_dump(mode="json", exclude=set(TrainingConfig.model_fields))


def origin_of(
    description: ModelDescription,
    own: TrainingConfig,
    found: Adapted,
    config: FinetuneConfig,
    rates: FinetuneRates,
    seen_held_out: int,
    learned: Learned,
    *,
    is_restored: bool,
) -> dict[str, Any]:
    """Return where the model comes from, for its config.json and its card. Usual settings are left out."""
    origin: dict[str, Any] = {"started from": f"weights {description.sha256[WEIGHTS_FILE]}"}
    origin |= {OWN_RATE: own.learning_rate, OWN_BATCH: own.batch_images}
    if found.changes:
        origin["adapted"] = "; ".join(found.changes)
    if config.kind == "lora":
        origin["low-rank changes"] = f"rank {config.lora.rank}, alpha {config.lora.alpha:g}, merged"
    if config.kind == "few_step":
        origin["few steps"] = f"learned from {config.few_step.pairs:,} images that these weights drew"
        origin["teacher's sampling"] = teacher_sampling(config).model_dump(mode="json")
    if is_restored:
        origin["optimizer"] = "began as that of these weights"
    if learned.words:
        origin["learned from"] = learned.words
    if learned.unseen is not None:
        origin[SKIPPED] = len(learned.unseen)
    if seen_held_out:
        origin["held-out images that these weights were trained on"] = seen_held_out
    if config.dataset == "augmented":
        origin["dataset of the fine-tuning"] = "augmented"
    if config.first_layer_rate < 1.0:
        origin["learning rate of the first layer"] = f"{config.first_layer_rate:g} of the last one's"
    if rates.class_rate != 1.0:
        origin["learning rate of the class embeddings"] = f"{rates.class_rate:.3g} times the last layer's"
    if config.frozen:
        origin["frozen"] = ", ".join(config.frozen)
    return origin


def full(model: GenerativeModel, config: FinetuneConfig, rates: FinetuneRates) -> Continuation:
    """Train the weights themselves."""
    is_usual = config.first_layer_rate == rates.class_rate == 1.0 and not config.frozen
    return Continuation(rates=None if is_usual else rates_of(model, config, rates))


def lora(model: GenerativeModel, config: FinetuneConfig, rates: FinetuneRates) -> Continuation:
    """Train low-rank changes of the layers, which are merged into the weights at the end."""
    by_weight = rates_of(model, config, rates)
    return Continuation(merge_lora, add_lora(model, config.lora.rank, config.lora.alpha, by_weight))


def rates_of(model: GenerativeModel, config: FinetuneConfig, rates: FinetuneRates) -> dict[str, float]:
    """Return the factor of the learning rate for each weight that is trained."""
    return learning_rates(model, config.first_layer_rate, config.frozen, rates.class_rate)


def few_step(context: Context, found: Adapted, recipe: ModelRecipe, weights: str, dataset: Dataset) -> Trainee:
    """Let the teacher draw its images, in the proportions of the training images, and return the student's training."""
    if found.changes:
        raise ValueError(
            f"finetune.kind: got few_step, but the model does not fit the data ({'; '.join(found.changes)}): continue "
            "it with kind full first, and make a few-step model of the result"
        )
    config = context.config.finetune.few_step
    labels = dataset.labels("train")
    counts = [] if labels is None else np.bincount(labels, minlength=len(dataset.info.classes)).tolist()
    sampling = teacher_sampling(context.config.finetune)
    context.progress.begin("teacher", total=config.pairs, unit="images")
    return found.model.distillation(
        recipe,
        Lesson(weights, sampling, config.pairs, proportional_labels(config.pairs, counts), config.steps),
        PAIRS,
        context.progress.update,
    )


def teacher_sampling(config: FinetuneConfig) -> SamplingConfig:
    """Return how the teacher draws what a few-step model learns."""
    own = config.few_step.teacher
    return selected_sampling(Path("models") / config.start) if isinstance(own, str) else own


KINDS: dict[str, Kind] = {"full": full, "lora": lora}


if __name__ == "__main__":
    main()

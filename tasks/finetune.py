"""The stage `finetune`: continue training a model, as `finetune:` says.

Reads models/selected or models/base, according to finetune.start, and data/prepared or data/augmented; writes
models/finetuned and plots/finetuned.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genai_core.config import DistilledRecipe, FinetuneConfig, ModelRecipe, SamplingConfig, TrainingConfig
from genai_core.counted import counted
from genai_core.data.dataset.dataset import Dataset, load_dataset
from genai_core.data.dataset.facts import Indices
from genai_core.data.dataset.seen import SEEN_FILE, are_new, count_seen_held_out, epoch_with_replay, renamed_classes
from genai_core.models.adapting.adapt import Adapted, adapted
from genai_core.models.adapting.automatic import FinetuneRates, finetune_rates
from genai_core.models.adapting.lora import add_lora, merge_lora
from genai_core.models.artifact import WEIGHTS_FILE, ModelDescription, read_config, selected_sampling
from genai_core.models.protocol import Distilling, GenerativeModel, Lesson
from genai_core.sampling.sample import proportional_labels
from genai_core.training.moments import Moments, without_weights
from genai_core.training.rates import learning_rates
from tasks.context import Context, running
from tasks.device import torch_device
from tasks.optimizers import kept_moments
from tasks.training import Continuation, check_batch, run_training, shape_of

# In a fine-tuned model's summary, for the next fine-tuning.
OWN_RATE, OWN_BATCH = "learning rate of the training from scratch", "images per step of the training from scratch"
PAIRS = Path(".genai/cache/pairs")  # what a teacher drew, until the next one does

IsNew = npt.NDArray[np.bool_]

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
        own = own_training(description)
        rates = finetune_rates(config, len(found.new_classes), own.batch_images)
        _tell(context, *(f"{start}: {change}" for change in found.changes), rates.understood)
        is_new = new_images(context, dataset, start, names)
        seen = count_seen_held_out(dataset, start / SEEN_FILE)
        if seen:
            _tell(
                context,
                f"{start}: trained on {seen:,} of the {dataset.info.counts['test']:,} images that are held out now, so "
                "figures from held-out images are too good",
            )
        training = finetuning(own, config, rates)
        recipe, device = description.config.model_copy(update={"training": training}), torch_device(context.config)
        check_batch("finetune.batch_images", training.batch_images, shape_of(dataset), context.config, device)
        if config.kind == "few_step":
            found.model.to(device).eval()
            distilling = few_step(context, found, recipe, description.sha256[WEIGHTS_FILE], dataset)
            model, recipe, how = distilling.model, distilling.recipe, Continuation()
        else:
            model, how = found.model, KINDS[config.kind](found.model, config, rates)
            if config.optimizer == "restored":
                how = replace(how, moments=moments_of_base(context, description, found))
        run_training(
            context,
            model,
            recipe,
            dataset,
            device,
            to=Path("finetuned"),
            origin=origin_of(description, own, found, config, rates, seen, is_new),
            continuation=replace(how, settings=settings_of(config), epoch=epoch_of(config, is_new)),
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


def new_images(context: Context, dataset: Dataset, start: Path, names: Mapping[str, str]) -> IsNew | None:
    """Return (N,) which images of the train split the base was not trained on; None if that does not matter.

    The selected model was trained on this very split: for it, nothing is new, and everything is used. names: former
    names of classes.
    """
    config = context.config.finetune
    if config.images == "all":
        return None
    if config.start == "selected":
        _tell(context, f"finetune.images: {config.images} is for a base; {start} was trained on all images")
        return None
    is_new = are_new(dataset, start / SEEN_FILE, names)
    only_old = config.images == "replay" and not is_new.any()
    how = "; without new ones, replay uses each old one once" if only_old else ""
    _tell(context, f"{counted(int(is_new.sum()), 'new image')} of {len(is_new):,} to train on{how}")
    return is_new


def epoch_of(config: FinetuneConfig, is_new: IsNew | None) -> Indices | None:
    """Return the rows of the train split that an epoch consists of; None for each once."""
    if is_new is None:
        return None
    return epoch_with_replay(is_new, config.replay_share if config.images == "replay" else 0.0, config.seed)


def moments_of_base(context: Context, description: ModelDescription, found: Adapted) -> Moments:
    """Return what the optimizers of the base knew at its end, without weights that are no longer the same.

    Raises FileNotFoundError when that was not kept.
    """
    start = Path("models") / context.config.finetune.start
    moments = kept_moments(description.sha256[WEIGHTS_FILE], start)
    if found.changed_weights:
        _tell(context, f"finetune.optimizer: restored, but fresh for {', '.join(sorted(found.changed_weights))}")
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
    is_new: IsNew | None,
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
    if config.optimizer == "restored":
        origin["optimizer"] = "began as that of these weights"
    if is_new is not None and not is_new.any():
        origin["learned from"] = "old images, because none was new to it"
    elif is_new is not None:
        old = f", and {config.replay_share:.0%} old ones" if config.images == "replay" else ""
        origin["learned from"] = f"images new to it{old}"
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


def _tell(context: Context, *lines: str) -> None:
    if context.is_first:
        for line in filter(None, lines):
            print(line, flush=True)


if __name__ == "__main__":
    main()

"""A training run of a few small batches, for tests."""

import numpy as np
import torch

from genai_core.data.dataset.loader import ResidentBatches
from genai_core.models.artifact import build_model
from genai_core.models.protocol import Loss
from genai_core.progress import Progress
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, train
from tests.models.tiny import RECIPES, SHAPE, training_config

CPU = torch.device("cpu")


def model_of(family="diffusion", seed=0, **objective):
    torch.manual_seed(seed)
    model = build_model(RECIPES[family](**objective), SHAPE)
    if family == "diffusion":
        model.preview_sampling = model.preview_sampling.model_copy(update={"steps": 2})  # fast previews
    return model


def run(
    model,
    folder,
    *,
    checkpoint_every_s=1e9,
    stop_requested=lambda: False,
    evaluate=None,
    rungs=None,
    device=CPU,
    num_nodes=1,
    rates=None,
    moments=None,
    **changes,
):
    config = training_config(**changes)
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    labels = np.arange(20) % 3
    return train(
        model,
        ResidentBatches(images, labels, batch_images=config.batch_images, seed=config.seed, device=device),
        config,
        hardware=Hardware(device, num_nodes=num_nodes),
        checkpoints=Checkpoints(folder, "run", {}),
        checkpoint_every_s=checkpoint_every_s,
        progress=Progress(silent=True),
        stop_requested=stop_requested,
        evaluate=evaluate,
        rates=rates,
        moments=moments,
        rungs=rungs,
    )


def after(calls):
    """Return a stop_requested that is True from the given call on."""
    counter = iter(range(10**6))
    return lambda: next(counter) + 1 >= calls


def on_call(monkeypatch, model, change):
    """Replace the result of the model's loss with `change(loss, call)`, with calls from 1; return the calls."""
    own, calls = model.loss, []

    def changed(*arguments):
        calls.append(1)
        return change(own(*arguments), len(calls))

    monkeypatch.setattr(model, "loss", changed)
    return calls


def times(loss, factor):
    """Multiply a loss, as if the network had diverged."""
    return Loss(loss.value * factor, loss.figures)


def same_weights(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def close_weights(one, other, share):
    """Whether they differ by at most this share of the weights' size."""
    # The pairing loss is a difference of scores. Their bias has only rounding errors as gradient, which Adam enlarges.
    names = one.state_dict().keys() - {"discriminator.score.bias"}
    pairs = [(one.state_dict()[name], other.state_dict()[name]) for name in names]
    difference = sum(float((a - b).square().sum()) for a, b in pairs)
    return difference <= share**2 * sum(float(a.square().sum()) for a, _ in pairs)

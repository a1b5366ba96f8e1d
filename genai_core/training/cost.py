"""What a model costs: floating point operations an image, counted in a real step and a real sample."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from genai_core.models.protocol import GenerativeModel

# Not one: a GAN takes its penalties on a part of each batch.
_STEP_IMAGES = 4


@dataclass(frozen=True)
class Cost:
    """Operations: a multiplication and an addition count as two, as torch counts; element-wise ones are left out."""

    parameters: int  # of the network that draws
    training_parameters: int  # of all networks
    training_flops: dict[str, int]  # an image and a step of each phase, backward passes included
    sampling_flops: int  # an image, with the preview's sampling options


def count_cost(model: GenerativeModel) -> Cost:
    """Count on a copy: a step may change more than gradients, such as a codebook."""
    model = copy.deepcopy(model)
    shape = model.shape
    images = torch.zeros((_STEP_IMAGES, shape.channels, shape.image_size, shape.image_size))
    labels = torch.zeros(_STEP_IMAGES, dtype=torch.int64) if shape.classes else None
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.sampled_network().parameters()),
        training_parameters=sum(parameter.numel() for parameter in model.parameters()),
        training_flops={phase: _step_flops(model.train(), phase, images, labels) for phase in model.phases},
        sampling_flops=_sample_flops(model.eval(), None if labels is None else labels[:1]),
    )


def _step_flops(model: GenerativeModel, phase: str, images: Tensor, labels: Tensor | None) -> int:
    model.requires_grad_(False)
    for parameter in model.phase_parameters(phase):
        parameter.requires_grad_(True)
    with FlopCounterMode(display=False) as counter:
        model.loss(phase, images, labels, torch.Generator().manual_seed(0)).value.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops()) // _STEP_IMAGES


def _sample_flops(model: GenerativeModel, labels: Tensor | None) -> int:
    with FlopCounterMode(display=False) as counter:
        model.sample(labels, torch.zeros(1, dtype=torch.int64), model.preview_sampling)
    return int(counter.get_total_flops())

"""What a model costs: floating point operations an image, counted in a real step and a real sample."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genai_core.models.protocol import GenerativeModel

_aten = torch.ops.aten
# Attention on a processor has a kernel of its own, which torch's table leaves out; the arguments are the same.
_FORMULAS = {
    **flop_registry,
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[_aten._scaled_dot_product_flash_attention],
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        _aten._scaled_dot_product_flash_attention_backward
    ],
}

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
    counter = _Counter()
    with counter:
        model.loss(phase, images, labels, torch.Generator().manual_seed(0)).value.backward()  # type: ignore[no-untyped-call]
    return counter.flops // _STEP_IMAGES


def _sample_flops(model: GenerativeModel, labels: Tensor | None) -> int:
    counter = _Counter()
    with counter:
        model.sample(labels, torch.zeros(1, dtype=torch.int64), model.preview_sampling)
    return counter.flops


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts with torch's own formulas.

    Not torch's FlopCounterMode: the hooks by which it names modules refuse a gradient that is itself differentiated.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **(kwargs or {}), out_val=result))
        return result

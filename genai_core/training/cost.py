"""Cost of a model: floating point operations per image, counted in a real training step and a real sample."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genai_core.models.protocol import GenerativeModel

_aten = torch.ops.aten
# Attention on a CPU has its own kernel, which torch's table lacks; its arguments are the same.
_FORMULAS = {
    **flop_registry,
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[_aten._scaled_dot_product_flash_attention],
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        _aten._scaled_dot_product_flash_attention_backward
    ],
}


@dataclass(frozen=True)
class Cost:
    """Operations: a multiply-add counts as two, as in torch; element-wise operations are not counted."""

    parameters: int  # of the network that generates images
    training_parameters: int  # of all networks
    training_flops: dict[str, int]  # per image and step of each phase, including the backward pass
    sampling_flops: int  # per image, with the preview's sampling options


def count_cost(model: GenerativeModel, batch_images: int) -> Cost:
    """Count the cost on a copy of the model, because a step may change more than gradients, such as a running mean.

    batch_images: of a training step. The cost per image depends on it: a GAN's penalties use whole images of a batch.
    """
    step = partial(_step_flops, batch_images=batch_images)
    training = {phase: _counted(model, partial(step, phase=phase)) for phase in model.phases}
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.sampled_network().parameters()),
        training_parameters=sum(parameter.numel() for parameter in model.parameters()),
        training_flops=training,
        sampling_flops=_counted(model, _sample_flops),
    )


def _counted(model: GenerativeModel, count: Callable[[GenerativeModel], int]) -> int:
    try:
        # Tensors without values: shapes suffice for counting, and a large network takes no time.
        return count(copy.deepcopy(model).to("meta"))
    except (NotImplementedError, RuntimeError):
        # Operations whose output shape depends on values need real tensors.
        return count(copy.deepcopy(model).to("cpu"))


def _step_flops(model: GenerativeModel, phase: str, batch_images: int) -> int:
    shape, device = model.shape, next(model.parameters()).device
    images = torch.zeros((batch_images, *shape.chw), device=device)
    labels = torch.zeros(batch_images, dtype=torch.int64, device=device) if shape.classes else None
    model.train().requires_grad_(False)
    for parameter in model.phase_parameters(phase):
        parameter.requires_grad_(True)
    counter = _Counter()
    with counter:
        model.loss(phase, images, labels, torch.Generator().manual_seed(0)).value.backward()  # type: ignore[no-untyped-call]
    return counter.flops // batch_images


def _sample_flops(model: GenerativeModel) -> int:
    seeds = torch.zeros(1, dtype=torch.int64)
    counter = _Counter()
    with counter:
        model.eval().sample(seeds.clone() if model.shape.classes else None, seeds, model.preview_sampling)
    return counter.flops


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts with torch's own formulas.

    torch's FlopCounterMode does not work here: its module hooks reject gradients that are differentiated again.
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

"""What an optimizer knows when a training ends: running means of gradients, by the names of their weights.

A training that continues the model can begin with them. Without, each weight's first steps go by a few gradients only,
which is what `warmup_images` is for.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW

from genai_core.models.protocol import GenerativeModel
from genai_core.training.muon import MOMENTUM, Muon

# By "PHASE/NAME/PART": the means of gradients and, with AdamW, of their squares, each with the weight's shape, and the
# steps, ().
Moments = Mapping[str, Tensor]

_OF_ADAMW, _OF_MUON = ("exp_avg", "exp_avg_sq"), (MOMENTUM,)
_STEPS = "step"


def moments_of(model: GenerativeModel, optimizers: Mapping[str, AdamW]) -> dict[str, Tensor]:
    """Return the state of the optimizers, on the CPU. A weight that has not been trained has none."""
    found = {}
    for phase, name, parameter, optimizer in _trained(model, optimizers):
        for part, tensor in optimizer.state.get(parameter, {}).items():
            found[_key(phase, name, part)] = tensor.detach().cpu().contiguous()
    return found


def restore_moments(model: GenerativeModel, optimizers: Mapping[str, AdamW], moments: Moments) -> None:
    """Let optimizers that have made no step begin with these moments, except for weights that have none there.

    The moments of another kind of optimizer are none. Raises ValueError for moments of a weight of another shape.
    """
    for phase, name, parameter, optimizer in _trained(model, optimizers):
        means = _means(optimizer, parameter)
        keys = {part: _key(phase, name, part) for part in (*means, _STEPS)}
        if not all(key in moments for key in keys.values()):
            continue
        for part in means:
            if moments[keys[part]].shape != parameter.shape:
                shapes = f"{tuple(moments[keys[part]].shape)}, and the weight {tuple(parameter.shape)}"
                raise ValueError(f"{keys[part]} has the shape {shapes}: not the optimizer of this model")
        # In the weight's own memory format, which the fused kernel takes for granted.
        state = {part: torch.empty_like(parameter).copy_(moments[keys[part]]) for part in means}
        optimizer.state[parameter] = {_STEPS: moments[keys[_STEPS]].to(parameter.device, copy=True), **state}


def without_weights(moments: Moments, names: Collection[str]) -> dict[str, Tensor]:
    """Return the moments without those of the weights with these names, which then start fresh."""
    return {key: tensor for key, tensor in moments.items() if key.split("/")[1] not in names}


def weights_in(moments: Moments) -> set[str]:
    """Return the names of the weights that have moments."""
    return {key.split("/")[1] for key in moments}


def _trained(model: GenerativeModel, optimizers: Mapping[str, AdamW]) -> list[tuple[str, str, Parameter, AdamW]]:
    """Return phase, name, weight and optimizer of each weight that an optimizer trains."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        (phase, names[id(parameter)], parameter, optimizer)
        for phase, optimizer in optimizers.items()
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def _means(optimizer: AdamW, parameter: Parameter) -> tuple[str, ...]:
    return _OF_MUON if isinstance(optimizer, Muon) and optimizer.is_matrix(parameter) else _OF_ADAMW


def _key(phase: str, name: str, part: str) -> str:
    return f"{phase}/{name}/{part}"

"""Muon: momentum whose singular values are made equal, for the weight matrices of inner layers (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/). All other weights are trained by AdamW.

Adam scales each number by itself. The updates of a matrix then have few large singular values, and all other directions
are learned slowly. With equal singular values, each direction is learned as fast.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import AdamW

MOMENTUM = "momentum"  # its name in the state of a weight
_DECAY = 0.95  # of the momentum
_STEPS = 5
# Of the polynomial a x + b x^3 + c x^5: steep at 0, and near 1 after five steps for all x between 0.01 and 1 (ibid.).
_A, _B, _C = 3.4445, -4.7750, 2.0315
# Updates get the root mean square that those of Adam have, so that one learning rate suits both (Liu et al. 2025,
# arXiv 2502.16982, section 2.2).
_RMS_OF_ADAM = 0.2
_FEWEST = 32  # inputs and outputs; a layer with fewer is at the model's border, and cheap in any case


def inner_matrices(model: nn.Module) -> list[Tensor]:
    """The weights that Muon trains: of convolutions and linear layers with at least 32 inputs and as many outputs."""
    layers = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    return [layer.weight for layer in layers if min(layer.weight.shape[:2]) >= _FEWEST]


def orthogonalised(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Return matrices (N, rows, columns) with the same singular vectors, and singular values of about 1 (0.7 to 1.2).

    By Newton-Schulz iteration in `dtype`. A matrix of zeros stays so.
    """
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if is_tall else matrices).to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    result: Tensor = x.mT if is_tall else x
    return result.to(matrices.dtype)


class Muon(AdamW):
    """groups: as of AdamW. matrices: those of their weights that Muon trains. dtype: of its matrix products."""

    def __init__(
        self, groups: Sequence[Mapping[str, Any]], matrices: Sequence[Tensor], dtype: torch.dtype, **adam: Any
    ) -> None:
        super().__init__([dict(group) for group in groups], **adam)
        self._matrices = {id(parameter) for parameter in matrices}
        self._dtype = dtype

    def is_matrix(self, parameter: Parameter) -> bool:
        return id(parameter) in self._matrices

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Learn from the gradients."""
        for group in self.param_groups:
            for parameters in self._by_shape(group["params"]).values():
                self._step(parameters, group["lr"], group["weight_decay"])
                for parameter in parameters:
                    parameter.grad = None  # so that AdamW leaves it out
        super().step(closure)

    def _by_shape(self, parameters: Sequence[Parameter]) -> dict[tuple[int, int], list[Parameter]]:
        """Matrices that have a gradient, by rows and columns: those of a size are computed at once."""
        found = defaultdict(list)
        for parameter in parameters:
            if self.is_matrix(parameter) and parameter.grad is not None:
                found[len(parameter), parameter[0].numel()].append(parameter)
        return found

    def _step(self, parameters: Sequence[Parameter], rate: float, weight_decay: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self._momentum(parameter) for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1.0 - _DECAY)
        # Nesterov's momentum: as if the gradient had been added once more.
        ahead = torch._foreach_lerp(gradients, momenta, _DECAY)
        updates = orthogonalised(torch.stack([_as_matrix(update) for update in ahead]), self._dtype)
        factor = _RMS_OF_ADAM * math.sqrt(max(updates.shape[1:]))
        for parameter, update in zip(parameters, updates, strict=True):
            if weight_decay:
                parameter.mul_(1.0 - rate * weight_decay)
            parameter.add_(_as_weight(update, parameter.shape), alpha=-rate * factor)

    def _momentum(self, parameter: Parameter) -> Tensor:
        state = self.state[parameter]
        if not state:  # AdamW, when it loads a state, wants each weight's to have steps
            state.update({"step": torch.zeros(()), MOMENTUM: torch.zeros_like(parameter)})
        state["step"] += 1
        momentum: Tensor = state[MOMENTUM]
        return momentum


def _as_matrix(weight: Tensor) -> Tensor:
    """A row per output. Columns are in the order that convolutions have in memory, which is of no effect here."""
    return weight if weight.dim() == 2 else weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _as_weight(matrix: Tensor, shape: torch.Size) -> Tensor:
    """The reverse of _as_matrix."""
    return matrix if len(shape) == 2 else matrix.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2)

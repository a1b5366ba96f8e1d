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

from genai_core.training.ranks import Ranks

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

    By Newton-Schulz iteration in `dtype`, which is the result's. A matrix of zeros stays so.
    """
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if is_tall else matrices).to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.mT if is_tall else x


class Muon(AdamW):
    """groups: as of AdamW. matrices: those of their weights that Muon trains. dtype: of its matrix products.

    ranks: the processes that train together; None: this one alone.
    """

    def __init__(
        self,
        groups: Sequence[Mapping[str, Any]],
        matrices: Sequence[Tensor],
        dtype: torch.dtype,
        ranks: Ranks | None = None,
        **adam: Any,
    ) -> None:
        super().__init__([dict(group) for group in groups], **adam)
        self._matrices = {id(parameter) for parameter in matrices}
        self._dtype, self._ranks = dtype, ranks

    def is_matrix(self, parameter: Parameter) -> bool:
        return id(parameter) in self._matrices

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Learn from the gradients."""
        for group in self.param_groups:
            own = [each for each in group["params"] if self.is_matrix(each) and each.grad is not None]
            if own:
                self._step(own, group["lr"], group["weight_decay"])
            for parameter in own:
                parameter.grad = None  # so that AdamW leaves it out
        super().step(closure)

    def _step(self, parameters: Sequence[Parameter], rate: float, weight_decay: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self._momentum(parameter) for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1.0 - _DECAY)
        # Nesterov's momentum: as if the gradient had been added once more.
        ahead = torch._foreach_lerp(gradients, momenta, _DECAY)
        updates = self._orthogonalised([_as_matrix(update) for update in ahead])
        # Equal singular values make a whole step of whatever is left of the momentum. Weights that had no part in the
        # batch, such as another group's network, would go on and on.
        had_part = [norm > 0.0 for norm in torch._foreach_norm(gradients)]
        for parameter, update, is_active in zip(parameters, updates, had_part, strict=True):
            if weight_decay:
                parameter.mul_(1.0 - rate * weight_decay * is_active)
            factor = _RMS_OF_ADAM * math.sqrt(max(update.shape))
            parameter.add_(_as_weight(update * is_active, parameter.shape), alpha=-rate * factor)

    def _orthogonalised(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Return all updates. Of several processes, each computes some and gets the others'.

        That divides the work, and they cannot drift apart: in bf16, two kinds of processors may differ by percents.
        """
        rank, count = (self._ranks.rank, self._ranks.count) if self._ranks else (0, 1)
        owners = divided([min(matrix.shape) * matrix.numel() for matrix in matrices], count)
        by_shape = defaultdict(list)
        for index, matrix in enumerate(matrices):
            if owners[index] == rank:
                by_shape[matrix.shape].append(index)
        updates = [matrix.new_empty((), dtype=self._dtype).expand(matrix.shape) for matrix in matrices]
        for same in by_shape.values():  # at once, which is faster
            found = orthogonalised(torch.stack([matrices[index] for index in same]), self._dtype)
            for index, update in zip(same, found, strict=True):
                updates[index] = update
        return updates if self._ranks is None else self._ranks.from_owners(updates, owners)

    def _momentum(self, parameter: Parameter) -> Tensor:
        state = self.state[parameter]
        if not state:  # AdamW, when it loads a state, wants each weight's to have steps
            state.update({"step": torch.zeros(()), MOMENTUM: torch.zeros_like(parameter)})
        state["step"] += 1
        momentum: Tensor = state[MOMENTUM]
        return momentum


def divided(costs: Sequence[int], count: int) -> list[int]:
    """Return which of `count` processes takes each item, so that all have about as much to do."""
    owners, loads = [0] * len(costs), [0] * count
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += costs[index]
    return owners


def _as_matrix(weight: Tensor) -> Tensor:
    """A row per output. Columns are in the order that convolutions have in memory, which is of no effect here."""
    return weight if weight.dim() == 2 else weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _as_weight(matrix: Tensor, shape: torch.Size) -> Tensor:
    """The reverse of _as_matrix."""
    return matrix if len(shape) == 2 else matrix.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2)

"""Low-rank adaptation (LoRA, Hu et al. 2021, arXiv 2106.09685) of convolutions, attention and dense layers.

Each layer's weights W become W + alpha / rank * up @ down, of which only `up` and `down` are trained. Merged, the model
is an ordinary one: nothing about it remains in the saved files.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genai_core.models.networks.class_embedding import ClassEmbedding
from genai_core.models.networks.precision import full_precision
from genai_core.models.protocol import GenerativeModel


class LowRank(nn.Module):
    """A change of a layer's weights, zero at the start.

    A rank above the smaller side of the weights, as a matrix, is reduced to that side. The scale stays alpha / rank.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        self.scale = alpha / rank
        rank = min(rank, rows, columns)
        self.down = nn.Parameter(torch.randn(rank, columns) / math.sqrt(columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """weight (rows, ...) -> the changed weights, of that shape."""
        # The change is small against the weights: bf16 under autocast would round most of it away.
        with full_precision(weight.device):
            change = (self.up @ self.down).reshape(weight.shape)
            return weight + self.scale * change


def add_lora(model: GenerativeModel, rank: int, alpha: float, rates: Mapping[str, float]) -> dict[str, float]:
    """Add changes to the model's layers in place; return the learning rates' factors of what is trained, by name.

    rates: factors of the model's own weights; a layer without one gets no change. Class embeddings are trained as they
    are: a new class is as many numbers as a change of it would be.
    """
    trained: dict[str, float] = {}
    for name, module in list(model.named_modules()):
        factor = rates.get(f"{name}.weight")
        if factor is None:
            continue
        if isinstance(module, ClassEmbedding):
            trained[f"{name}.weight"] = factor
        elif isinstance(module, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank, alpha))
            trained |= {f"{name}.parametrizations.weight.0.{part}": factor for part in ("down", "up")}
    return trained


def merge_lora(model: GenerativeModel) -> None:
    """Add the changes to the weights, in place, and remove them."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)

"""One vector for each class, and mixtures of classes."""

import torch
from torch import Tensor, nn

from genai_core.models.networks.precision import full_precision


class ClassEmbedding(nn.Embedding):
    """An embedding that accepts classes by number or by weight; the weights' tensor is that of nn.Embedding."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base class's name
        """Labels (B,) int64, or weights of the first K classes (B, K) float32 -> vectors (B, embedding_dim).

        Weights give the weighted mean of the classes' vectors. A weight of 1 gives exactly the vector of its label:
        the other products are zeros.
        """
        if not input.is_floating_point():
            return super().forward(input)
        with full_precision(input.device):
            return input @ self.weight[: input.shape[1]]


def hide(labels: Tensor, hidden: Tensor, *, no_label: int) -> Tensor:
    """Return labels (B,) int64, or weights of K = no_label classes (B, K), with the class `no_label` where hidden (B,).

    Weights get a column for it.
    """
    if not labels.is_floating_point():
        return torch.where(hidden, no_label, labels)
    unlabelled = hidden.to(labels.dtype)[:, None]
    return torch.cat([labels * (1.0 - unlabelled), unlabelled], dim=1)

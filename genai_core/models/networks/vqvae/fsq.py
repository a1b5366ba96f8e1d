"""Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505): every channel is rounded to a few levels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_MARGIN = 1e-3  # lets the outermost levels be reached before the bounding function is flat


class Fsq(nn.Module):
    """Converts between channels, codes, levels and tokens. It has no weights, so no codebook that could collapse.

    levels: number of levels of each channel, 2 or more. A code is a channel's level scaled to [-1, 1]; a token is the
    index of a combination of levels, below the product of their numbers.
    """

    levels: Tensor
    basis: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self._most = max(levels)
        counts = torch.tensor(levels)
        self.register_buffer("levels", counts, persistent=False)
        self.register_buffer("basis", torch.cat([torch.ones(1, dtype=torch.int64), counts[:-1]]).cumprod(0), False)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) of any size -> codes (..., C); the gradient ignores the rounding (straight-through)."""
        bounded = self._bounded(x)
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / self._half()

    def to_levels(self, codes: Tensor) -> Tensor:
        """codes (..., C) -> indices of their levels, from 0, (..., C) int64."""
        return (codes * self._half()).round().long() + self._half()

    def to_codes(self, levels: Tensor) -> Tensor:
        """levels (..., C) int64 -> codes (..., C)."""
        return (levels - self._half()) / self._half()

    def to_tokens(self, levels: Tensor) -> Tensor:
        """levels (..., C) -> tokens (...) int64."""
        return (levels * self.basis).sum(dim=-1)

    def use(self, levels: Tensor) -> Tensor:
        """Share of all channels' levels that occur in levels (..., C) int64, a scalar."""
        numbers = torch.arange(self._most, device=levels.device)
        seen = (levels.flatten(0, -2)[:, :, None] == numbers).any(dim=0)
        return seen.sum() / self.levels.sum()

    def _half(self) -> Tensor:
        return self.levels // 2

    def _bounded(self, x: Tensor) -> Tensor:
        """Bound to (-L/2, L/2), shifted by half for even L, so that L integers lie within (eq. 1 and appendix).

        0 stays 0, the middle of a level. With two levels it would be the outer end of one, where tanh is flat and
        passes no gradient; there 0 is the border between the two.
        """
        reach = (self.levels - 1) * (1 + _MARGIN) / 2
        offset = (1 - self.levels % 2) / 2
        shift = torch.where(self.levels > 2, (offset / reach).atanh(), 0.0)
        return (x + shift).tanh() * reach - offset

"""Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505): every channel is rounded to a few levels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_MARGIN = 1e-3  # the outermost levels are reached before the bounding function is flat


class Fsq(nn.Module):
    """Between channels, codes, levels and tokens; it has no weights, and so no codebook that could collapse.

    levels: of each channel, 2 or more. A code is a channel's level scaled to [-1, 1]; a token is the number of the
    combination, from 0 to the product of all levels.
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
        """x (..., C) of any size -> codes (..., C); the gradient passes as if nothing had been rounded."""
        bounded = self._bounded(x)
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / self._half()

    def to_levels(self, codes: Tensor) -> Tensor:
        """codes (..., C) -> the numbers of their levels, from 0 on (..., C) int64."""
        return (codes * self._half()).round().long() + self._half()

    def to_codes(self, levels: Tensor) -> Tensor:
        """levels (..., C) int64 -> codes (..., C)."""
        return (levels - self._half()) / self._half()

    def to_tokens(self, levels: Tensor) -> Tensor:
        """levels (..., C) -> tokens (...) int64."""
        return (levels * self.basis).sum(dim=-1)

    def use(self, levels: Tensor) -> Tensor:
        """The share of all channels' levels that levels (..., C) int64 have, a scalar."""
        numbers = torch.arange(self._most, device=levels.device)
        seen = (levels.flatten(0, -2)[:, :, None] == numbers).any(dim=0)
        return seen.sum() / self.levels.sum()

    def _half(self) -> Tensor:
        return self.levels // 2

    def _bounded(self, x: Tensor) -> Tensor:
        """Into (-L/2, L/2), moved by half where L is even, so that L whole numbers lie within (eq. 1 and appendix).

        0 stays 0, a level's middle; but of two levels it would be the outer end of one, where tanh is flat and passes
        no gradient on: there it is the border between the two.
        """
        reach = (self.levels - 1) * (1 + _MARGIN) / 2
        offset = (1 - self.levels % 2) / 2
        shift = torch.where(self.levels > 2, (offset / reach).atanh(), 0.0)
        return (x + shift).tanh() * reach - offset

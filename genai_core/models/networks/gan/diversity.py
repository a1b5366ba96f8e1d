"""Diversity of generated images relative to real ones, which drops when a GAN collapses."""

import torch
from torch import Tensor


@torch.no_grad()
def diversity(fakes: Tensor, reals: Tensor, labels: Tensor | None) -> Tensor:
    """Mean distance of two generated images divided by that of two real ones, within a class, a scalar.

    fakes and reals (B, C, H, W) with the same labels (B,), or None. 1: as varied as the real images; 0: always the same
    image. Returns 1 (unknown) when no class has two images in the batch, or the real images do not differ.
    """
    pairs = ~torch.eye(len(fakes), dtype=torch.bool, device=fakes.device)
    if labels is not None:
        pairs &= labels[:, None] == labels
    drawn, real = (
        torch.where(pairs, torch.cdist(flat, flat), 0.0).sum()
        for flat in (fakes.float().flatten(1), reals.float().flatten(1))
    )
    return torch.where(real > 0, drawn / real, 1.0)

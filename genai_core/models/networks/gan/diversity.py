"""How much generated images differ from each other, beside real ones: what collapses when a GAN does."""

import torch
from torch import Tensor


@torch.no_grad()
def diversity(fakes: Tensor, reals: Tensor, labels: Tensor | None) -> Tensor:
    """Mean distance of two generated images over that of two real ones, within a class, a scalar.

    fakes and reals (B, C, H, W) with the same labels (B,), or None. 1 is as varied as the real ones, 0 is the same
    image over and over. Where no class has two images in the batch, or real images do not differ, it says 1: nothing is
    known.
    """
    pairs = ~torch.eye(len(fakes), dtype=torch.bool, device=fakes.device)
    if labels is not None:
        pairs &= labels[:, None] == labels
    drawn, real = (
        torch.where(pairs, torch.cdist(flat, flat), 0.0).sum()
        for flat in (fakes.float().flatten(1), reals.float().flatten(1))
    )
    return torch.where(real > 0, drawn / real, 1.0)

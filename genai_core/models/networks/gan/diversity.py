"""Diversity of generated images relative to real ones, which drops when a GAN collapses."""

import torch
from torch import Tensor


@torch.no_grad()
def pair_distances(fakes: Tensor, reals: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Distances of all pairs of images of a class, summed over the batch: of the generated images, of the real ones.

    fakes and reals (B, C, H, W) with the same labels (B,), or None; two scalars. Both are 0 when no class has two
    images in the batch. The quotient of sums over many batches is the diversity: 1 means as varied as the real images,
    0 always the same image. A mean of quotients would need one for a batch without pairs.
    """
    pairs = ~torch.eye(len(fakes), dtype=torch.bool, device=fakes.device)
    if labels is not None:
        pairs &= labels[:, None] == labels
    drawn, real = (
        torch.where(pairs, torch.cdist(flat, flat), 0.0).sum()
        for flat in (fakes.float().flatten(1), reals.float().flatten(1))
    )
    return drawn, real

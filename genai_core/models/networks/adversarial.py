"""Losses of two networks that are trained against each other."""

import torch
from torch import Tensor
from torch.nn import functional


def relativistic_loss(margin: Tensor) -> Tensor:
    """Mean of log(1 + exp(-margin)); margin (B,): how far one side's scores are above their partners'.

    The discriminator's margin is real - fake; the generator's is fake - real (Huang et al. 2025, arXiv 2501.05441,
    eq. 2).
    """
    return functional.softplus(-margin).mean()


def gradient_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """Squared norm of the gradient of the scores with respect to each image, (B,); 0 for images without a score.

    R1 on real images, R2 on generated ones (Mescheder et al. 2018, eq. 9). scores (S,), each computed from one of the
    images (B, C, H, W), which require a gradient. Differentiable. Images may also be maps of features.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3))

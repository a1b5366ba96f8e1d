"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676), controlled by overfitting."""

import torch
from torch import Tensor, nn

_MEMORY = 0.9  # decay of the mean sign per step


class Ada(nn.Module):
    """The probability of augmentation, which rises while the discriminator is too certain about real images.

    The paper measures the mean sign of the discriminator's output for real images. The outputs of a relativistic
    discriminator have no zero point: only differences between a real and a generated image are meaningful. So the sign
    here is that of each pair's difference, real minus generated: 0 if the two are indistinguishable, 1 if always told
    apart.

    target: target of the mean sign. total_images: minimum number of images for the probability to go from 0 to 1. State
    is in buffers, so that a resumed run continues exactly.
    """

    probability: Tensor
    sign: Tensor

    def __init__(self, target: float, total_images: int) -> None:
        super().__init__()
        self._target, self._total_images = target, total_images
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("sign", torch.zeros(()))

    @torch.no_grad()
    def update(self, sign: float, batch_images: int) -> None:
        """Adjust the probability. sign: mean sign, over a batch, of the scores of real images minus their partners'."""
        self.sign.lerp_(torch.tensor(sign).to(self.sign), 1 - _MEMORY)
        direction = (self.sign - self._target).sign()
        self.probability.add_(direction * batch_images / self._total_images).clamp_(0, 1)

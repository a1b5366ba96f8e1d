"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676): as much as overfitting calls for."""

import torch
from torch import Tensor, nn

_MEMORY = 0.9  # of the mean sign, by step


class Ada(nn.Module):
    """The probability of augmentation, which rises while the discriminator is too sure of real images.

    The paper's measure is the mean sign of the discriminator's output for real images. A relativistic discriminator's
    outputs have no zero: only differences between a real and a generated image have a meaning. So the sign is that of
    the difference of each pair, real minus generated: 0 when the two cannot be told apart, 1 when always.

    target: the mean sign aimed at. total_images: over how many the probability goes from 0 to 1 at most. State is in
    buffers, so that a resumed run goes on exactly.
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
        """sign: the mean sign, over a batch, of the scores of real images less those of their pairs."""
        self.sign.lerp_(torch.tensor(sign).to(self.sign), 1 - _MEMORY)
        direction = (self.sign - self._target).sign()
        self.probability.add_(direction * batch_images / self._total_images).clamp_(0, 1)

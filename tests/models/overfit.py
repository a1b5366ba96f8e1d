"""Sixteen images, and how well a model that memorised them generates them."""

from dataclasses import dataclass

import torch

from genai_core.image_size import ImageSize
from genai_core.models.protocol import ImageShape

UNLABELLED = ImageShape(image_size=ImageSize.square(8), channels=1, classes=())


def sixteen_images(image_size=UNLABELLED.image_size):
    """All images of four black or white quarters, (16, 1, H, W)."""
    quarters = (torch.arange(16)[:, None] >> torch.arange(4)) % 2 * 2.0 - 1
    height, width = image_size
    images = quarters.reshape(16, 1, 2, 2)
    return images.repeat_interleave(height // 2, dim=2).repeat_interleave(width // 2, dim=3)


def learn(model, learning_rate, steps, betas):
    """Train an unconditional model on the sixteen images; the learning rate decays over the second half."""
    optimizers = {
        phase: torch.optim.Adam(model.phase_parameters(phase), lr=learning_rate, betas=betas) for phase in model.phases
    }
    generator = torch.Generator().manual_seed(0)
    images = sixteen_images(model.shape.image_size).repeat(2, 1, 1, 1)
    for step in range(steps):
        for phase in model.phases_at(step / steps):
            model.zero_grad()
            model.loss(phase, images, None, generator).value.backward()
            rate = learning_rate * model.learning_rate_factor(phase) * min(1.0, 2 * (steps - step) / steps)
            for group in optimizers[phase].param_groups:
                group["lr"] = rate
            optimizers[phase].step()


@dataclass(frozen=True)
class Recall:
    """distance: root mean square to the nearest image, mean over 64 samples; 1 for grey images and for noise."""

    distance: float
    images: int  # of the sixteen that are nearest to some sample


def recall(model, sampling):
    drawn = model.eval().sample(None, torch.arange(64), sampling).float() / 127.5 - 1
    size = model.shape.image_size
    distances = torch.cdist(drawn.flatten(1), sixteen_images(size).flatten(1)) / size.pixels**0.5
    return Recall(float(distances.min(dim=1).values.mean()), len(distances.argmin(dim=1).unique()))

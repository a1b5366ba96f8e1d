"""A generative model without training: image i is noise of its own seed, darker for each label."""

import torch

from genai_core.image_size import ImageSize
from genai_core.models.protocol import GenerativeModel, ImageShape


class TinyModel(GenerativeModel):
    family = "tiny"
    phases = ("only",)

    def __init__(self, classes=("a", "b", "c"), channels=1):
        super().__init__()
        self.shape = ImageShape(ImageSize.square(8), channels, classes)
        self.batches = []

    def phase_parameters(self, _phase):
        return []

    def loss(self, phase, images, labels, generator, part=None):
        raise NotImplementedError

    def sampled_network(self):
        return self

    noise_shape = ()

    def sample_from(self, noise, classes, sampling, start=None, watch=None):
        raise NotImplementedError

    def encode(self, images, classes, sampling, begin):
        raise NotImplementedError

    def sample(self, labels, seeds, _sampling):
        self.batches.append(len(seeds))
        size = self.shape.chw
        images = torch.stack(
            [torch.randint(100, size, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        )
        if labels is not None:
            images += 50 * labels.view(-1, 1, 1, 1)
        return images.to(torch.uint8)

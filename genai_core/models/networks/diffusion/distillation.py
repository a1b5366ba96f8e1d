"""Training of a few-step model: a student that draws in one call what its teacher draws in many.

The teacher draws images once, from known noise, with its own sampler and guidance. The student starts from the
teacher's weights and learns the teacher's image of each noise (knowledge distillation, Luhman and Luhman 2021, arXiv
2101.02388). The error is that of pixels and that of features (Zhang et al. 2018, arXiv 1801.03924), because the mean
of all likely images, which has the least error in pixels alone, is blurred. The features are those of the teacher's own
network, so no other network is needed, and the extractor that measures the models has no part in the training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from genai_core.config import DiffusionSampling, SamplingConfig
from genai_core.models.editing import Start, Watch
from genai_core.models.protocol import GenerativeModel, Loss, Part, to_unit
from genai_core.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from genai_core.models.diffusion import Diffusion

# The noise level, over the objective's sigma_data, at which features are taken, and that of the noise added for it. Low
# enough to see detail, and high enough that the network has learned to look at more than the pixel itself.
_FEATURE_LEVEL = 1 / 7
# Noise levels over sigma_data. The first is far below that of the teacher's first step: from pure noise, its estimate
# hardly depends on the noise, so the weights would have to learn first to look at it. (Zhou et al. 2024, arXiv
# 2404.04057, begin at 5 times sigma_data too.)
_LEVELS = {1: (5.0,), 2: (5.0, 0.9), 4: (5.0, 2.0, 0.9, 0.4)}
_DRAWN_AT_ONCE = 250
_SMOOTHED = 1e-4  # added to squares before their root, so that its gradient stays finite
_LEAST_VARIANCE = 1e-3  # of features at one position, which are divided by their root mean square


@dataclass(frozen=True)
class Pairs:
    """Noise and what the teacher draws from it.

    noise: (N, C, H, W) float32. images: (N, C, H, W) uint8. labels: (N,) int64; None without classes.
    """

    noise: Tensor
    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.noise)

    def to(self, device: torch.device) -> "Pairs":
        labels = None if self.labels is None else self.labels.to(device)
        return Pairs(self.noise.to(device), self.images.to(device), labels)


def student_levels(steps: int, sigma_data: float) -> tuple[float, ...]:
    """Return the noise levels of a student's evaluations, largest first."""
    return tuple(sigma_data * level for level in _LEVELS[steps])


def draw_pairs(
    teacher: "Diffusion",
    sampling: DiffusionSampling,
    labels: Tensor | None,
    count: int,
    seed: int,
    on_progress: Callable[[int], None],
) -> Pairs:
    """Draw `count` images with the teacher, from seeds that count down from the largest less `seed`.

    labels: (count,) int64; None without classes. People draw from small seeds, so that what they draw is hardly ever
    what the student has learned. Raises SamplingError for options that the teacher cannot draw with.
    """
    seeds = LARGEST_SEED - seed - torch.arange(count)
    images = []
    for part in torch.split(torch.arange(count), _DRAWN_AT_ONCE):
        images.append(teacher.sample(None if labels is None else labels[part], seeds[part], sampling).cpu())
        on_progress(int(part[-1]) + 1)
    return Pairs(teacher.noise(seeds), torch.cat(images), labels)


class Distillation(GenerativeModel):
    """A student and the frozen teacher, whose features compare their images.

    Each image of a batch learns one of the student's evaluations, in turn. An evaluation begins from what those before
    it drew, with the noise of its level, and always aims at the teacher's image.
    """

    family = "diffusion"
    phases = ("student",)

    def __init__(self, teacher: "Diffusion", student: "Diffusion", pairs: Pairs) -> None:
        super().__init__()
        self.shape = student.shape
        self.preview_sampling = student.preview_sampling
        self.student = student
        self.student.load_state_dict(teacher.state_dict())
        self.teacher = teacher.requires_grad_(False)
        self._pairs = pairs
        assert student.few_step is not None
        self._levels = student.few_step.noise_levels

    def phase_parameters(self, phase: str) -> Sequence[Parameter]:
        return self.student.phase_parameters(phase)

    def sampled_network(self) -> nn.Module:
        return self.student.sampled_network()

    def result(self) -> GenerativeModel:
        return self.student

    def loss(
        self,
        phase: str,  # noqa: ARG002 - there is one
        images: Tensor,
        labels: Tensor | None,  # noqa: ARG002 - those of the pairs
        generator: Generator,
        part: Part | None = None,
    ) -> Loss:
        """The mean distance from the teacher's images. The training images themselves are not used."""
        count, device = len(images), images.device
        part = part or Part(0, count, count)
        chosen = torch.randint(len(self._pairs), (count,), generator=generator, device=generator.device)
        disturbance = torch.randn(images.shape, generator=generator, device=generator.device).to(device)
        if self._pairs.noise.device != device:
            self._pairs = self._pairs.to(device)
        chosen = chosen.to(device)
        noise, targets = self._pairs.noise[chosen], to_unit(self._pairs.images[chosen])
        classes = None if self._pairs.labels is None else self._pairs.labels[chosen]
        order, drawn = self._drawn(noise, classes, part)
        drawn = _unless_clipped(drawn, targets[order])
        pixels = (drawn - targets[order]).square().mean(dim=(1, 2, 3)).add(_SMOOTHED).sqrt().mean()
        own_classes = None if classes is None else classes[order]
        features = self._feature_error(drawn, targets[order], own_classes, disturbance[order])
        value = pixels + features
        figures = {"loss": value, "pixel_error": pixels, "feature_error": features}
        return Loss(value, {name: figure.detach() for name, figure in figures.items()})

    def _drawn(self, noise: Tensor, classes: Tensor | None, part: Part) -> tuple[list[int], Tensor]:
        """Return what the student draws, with a gradient through the last evaluation, and of which images it is.

        Image i of the whole batch learns evaluation i modulo their number.
        """
        count = len(self._levels)
        order, drawn = [], []
        for last in range(count):
            rows = [row for row in range(len(noise)) if (part.first + row) % count == last]
            if not rows:
                continue
            own, own_classes = noise[rows], None if classes is None else classes[rows]
            clean = torch.zeros_like(own)
            for index, level in enumerate(self._levels[: last + 1]):
                with torch.set_grad_enabled(index == last and torch.is_grad_enabled()):
                    sigmas = own.new_full((len(own),), level)
                    clean = self.student.denoise(clean + level * own, sigmas, own_classes)
            order += rows
            drawn.append(clean)
        return order, torch.cat(drawn)

    def _feature_error(self, drawn: Tensor, targets: Tensor, classes: Tensor | None, noise: Tensor) -> Tensor:
        """Mean squared difference of the teacher's features, each position's divided by their root mean square."""
        level = _FEATURE_LEVEL * self.student.objective.sigma_data
        sigmas = noise.new_full((len(noise),), level)
        ours = self.teacher.features(drawn + level * noise, sigmas, classes)
        with torch.no_grad():
            theirs = self.teacher.features(targets + level * noise, sigmas, classes)
        errors = [
            (_normalised(one) - _normalised(other)).square().mean() for one, other in zip(ours, theirs, strict=True)
        ]
        return torch.stack(errors).mean()

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.student.noise_shape

    def sample_from(
        self,
        noise: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        start: Start | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        return self.student.sample_from(noise, classes, sampling, start, watch)

    def encode(self, images: Tensor, classes: Tensor | None, sampling: SamplingConfig, begin: Tensor) -> Tensor:
        return self.student.encode(images, classes, sampling, begin)


def _unless_clipped(drawn: Tensor, targets: Tensor) -> Tensor:
    """Return `drawn` without its errors beyond black and white where the target is black or white.

    Sampling clips them away. A network that need not hit black exactly draws cleaner backgrounds: the Fréchet distance
    fell from 1.60 to 1.46 by it (benchmarks/README.md).
    """
    beyond = ((targets <= -1) & (drawn < -1)) | ((targets >= 1) & (drawn > 1))
    return torch.where(beyond, targets, drawn)


def _normalised(features: Tensor) -> Tensor:
    features = features.float()
    return features * (features.square().mean(dim=1, keepdim=True) + _LEAST_VARIANCE).rsqrt()

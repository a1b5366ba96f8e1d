"""Training of a few-step model: a student that draws in one call what its teacher draws in many.

The teacher draws images once, from known noise, with its own sampler and guidance. The student starts from the
teacher's weights and learns the teacher's image of each noise (knowledge distillation, Luhman and Luhman 2021, arXiv
2101.02388). The error is that of pixels and that of features (Zhang et al. 2018, arXiv 1801.03924), because the mean
of all likely images, which has the least error in pixels alone, is blurred. The features are those of the teacher's own
network, so no other network is needed, and the extractor that measures the models has no part in the training.

Images learned so vary too little and are a little soft. In the last part of the training, the student therefore also
competes with a discriminator, on training images, as a GAN does (Sauer et al. 2024, arXiv 2403.12015).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from genai_core.config import SamplingConfig
from genai_core.models.editing import Start, Watch
from genai_core.models.networks.adversarial import gradient_penalty, relativistic_loss
from genai_core.models.networks.diffusion.feature_discriminator import FeatureDiscriminator
from genai_core.models.networks.diffusion.pairs import Pairs
from genai_core.models.protocol import GenerativeModel, Loss, Part, to_unit

if TYPE_CHECKING:
    from genai_core.models.diffusion import Diffusion

# The noise level, over the objective's sigma_data, at which features are taken, and that of the noise added for it. Low
# enough to see detail, and high enough that the network has learned to look at more than the pixel itself.
_FEATURE_LEVEL = 1 / 7
# Share of the run after which the discriminator takes part, and learning rates from then on, as factors.
_ADVERSARIAL_FROM = 0.6
_RATES = {"imitation": 1.0, "discriminator": 2.0, "refinement": 0.7}
_PENALTY = 0.05  # weight of R1 and R2, which are taken at the features
# Noise levels at which the discriminator sees images, over sigma_data: log-normal, as in training.
_SEEN_LEVEL, _SEEN_SPREAD = 0.64, 1.0
_EXAMPLES = 256  # images that set the scales of the discriminator's features
_SMOOTHED = 1e-4  # added to squares before their root, so that its gradient stays finite
_LEAST_VARIANCE = 1e-3  # of features at one position, which are divided by their root mean square


class Distillation(GenerativeModel):
    """A student, its frozen teacher, whose features compare images, and a discriminator on the same features.

    Each image of a batch learns one of the student's evaluations, in turn. An evaluation begins from what those before
    it drew, with the noise of its level, and aims at the teacher's image, or at real images in general.
    """

    family = "diffusion"
    phases = ("imitation", "discriminator", "refinement")

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
        self.discriminator = FeatureDiscriminator(self._example_features(), student.classes)

    @torch.no_grad()
    def _example_features(self) -> list[Tensor]:
        images = to_unit(self._pairs.images[:_EXAMPLES])
        level = _SEEN_LEVEL * self.teacher.objective.sigma_data
        device = next(self.teacher.parameters()).device
        noisy = (images + level * self._pairs.noise[:_EXAMPLES]).to(device)
        features = self.teacher.features(noisy, noisy.new_full((len(noisy),), level), self._unlabelled(noisy))
        return [maps.cpu() for maps in features]

    def phase_parameters(self, phase: str) -> Sequence[Parameter]:
        return list((self.discriminator.heads if phase == "discriminator" else self.student).parameters())

    def phases_at(self, share: float) -> Sequence[str]:
        return ("imitation",) if share < _ADVERSARIAL_FROM else ("discriminator", "refinement")

    def learning_rate_factor(self, phase: str) -> float:
        return _RATES[phase]

    def sampled_network(self) -> nn.Module:
        return self.student.sampled_network()

    def result(self) -> GenerativeModel:
        return self.student

    def loss(
        self, phase: str, images: Tensor, labels: Tensor | None, generator: Generator, part: Part | None = None
    ) -> Loss:
        """The mean distance from the teacher's images, and from the discriminator's point of view from real ones."""
        part = part or Part(0, len(images), len(images))
        if phase == "discriminator":
            return self._discriminator_loss(images, labels, generator, part)
        imitation = self._imitation_loss(images, generator, part)
        if phase == "imitation":
            return imitation
        drawn = self._drawn(_normal(images, generator), labels, part)
        images, labels = self._in_turns(images, part), None if labels is None else self._in_turns(labels, part)
        fake = self._scores(self._seen(_clipped(drawn), generator, part), labels)
        with torch.no_grad():
            real = self._scores(self._seen(images, generator, part), labels)
        adversarial = relativistic_loss(fake - real)
        figures = {**imitation.figures, "student_loss": adversarial.detach()}
        return Loss(imitation.value + adversarial, figures)

    def _imitation_loss(self, images: Tensor, generator: Generator, part: Part) -> Loss:
        """Only the number of `images` matters: the student learns the teacher's."""
        if self._pairs.noise.device != images.device:
            self._pairs = self._pairs.to(images.device)
        pairs = self._pairs
        chosen = torch.randint(len(pairs), (len(images),), generator=generator, device=generator.device)
        chosen = chosen.to(images.device)
        classes = None if pairs.labels is None else pairs.labels[chosen]
        disturbance = self._in_turns(_normal(images, generator), part)
        drawn = self._drawn(pairs.noise[chosen], classes, part)
        targets = self._in_turns(to_unit(pairs.images[chosen]), part)
        drawn = _unless_clipped(drawn, targets)
        pixels = (drawn - targets).square().mean(dim=(1, 2, 3)).add(_SMOOTHED).sqrt().mean()
        classes = None if classes is None else self._in_turns(classes, part)
        features = self._feature_error(drawn, targets, classes, disturbance)
        return Loss(pixels + features, {"pixel_error": pixels.detach(), "feature_error": features.detach()})

    def _discriminator_loss(self, images: Tensor, labels: Tensor | None, generator: Generator, part: Part) -> Loss:
        with torch.no_grad():
            drawn = _clipped(self._drawn(_normal(images, generator), labels, part))
            images, labels = self._in_turns(images, part), None if labels is None else self._in_turns(labels, part)
            real, fake = self._seen(images, generator, part), self._seen(drawn, generator, part)
        both = [torch.cat(maps).requires_grad_() for maps in zip(real, fake, strict=True)]
        scores = self._scores(both, None if labels is None else torch.cat([labels, labels]))
        squares = torch.stack([gradient_penalty(scores, maps).sum() for maps in both]).sum() / len(images)
        real_scores, fake_scores = scores.chunk(2)
        margin = real_scores - fake_scores
        value = relativistic_loss(margin)
        figures = {"discriminator_loss": value, "score_margin": margin.mean(), "penalty": squares}
        return Loss(value + _PENALTY / 2 * squares, {name: figure.detach() for name, figure in figures.items()})

    def _drawn(self, noise: Tensor, classes: Tensor | None, part: Part) -> Tensor:
        """Return what the student draws, in the order of `_in_turns`, with a gradient through the last evaluation."""
        drawn = []
        for last, rows in enumerate(self._turns(part)):
            if not len(noise[rows]):  # a part may be smaller than the number of evaluations
                continue
            own, own_classes = noise[rows], None if classes is None else classes[rows]
            clean = torch.zeros_like(own)
            for index, level in enumerate(self._levels[: last + 1]):
                with torch.set_grad_enabled(index == last and torch.is_grad_enabled()):
                    sigmas = own.new_full((len(own),), level)
                    clean = self.student.denoise(clean + level * own, sigmas, own_classes)
            drawn.append(clean)
        return torch.cat(drawn)

    def _turns(self, part: Part) -> list[slice]:
        """Return which of the part's images learn which evaluation: image i of a batch learns i modulo their number.

        Slices, because a step that is recorded on a GPU must not copy indices to it.
        """
        count = len(self._levels)
        return [slice((evaluation - part.first) % count, None, count) for evaluation in range(count)]

    def _in_turns(self, rows: Tensor, part: Part) -> Tensor:
        """Return rows (B, ...) in the order of the evaluations that they learn."""
        return torch.cat([rows[turn] for turn in self._turns(part)])

    def _seen(self, images: Tensor, generator: Generator, part: Part) -> list[Tensor]:
        """Return scaled features of images with some noise, as the discriminator sees them; images in turns."""
        spread = torch.randn((len(images),), generator=generator, device=generator.device).to(images.device)
        sigmas = _SEEN_LEVEL * self.student.objective.sigma_data * (_SEEN_SPREAD * self._in_turns(spread, part)).exp()
        noisy = images + sigmas[:, None, None, None] * self._in_turns(_normal(images, generator), part)
        return self.discriminator.scaled(self.teacher.features(noisy, sigmas, self._unlabelled(images)))

    def _scores(self, scaled: Sequence[Tensor], labels: Tensor | None) -> Tensor:
        scores: Tensor = self.discriminator(scaled, labels)
        return scores

    def _unlabelled(self, images: Tensor) -> Tensor | None:
        """Return "no label" for each image, so that features do not depend on the class; None without classes."""
        classes = self.student.classes
        return torch.full((len(images),), classes, device=images.device) if classes else None

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


def _normal(images: Tensor, generator: Generator) -> Tensor:
    return torch.randn(images.shape, generator=generator, device=generator.device).to(images.device)


def _clipped(drawn: Tensor) -> Tensor:
    """Clip to [-1, 1], as sampling does, but let the gradient through."""
    return drawn + (drawn.clamp(-1, 1) - drawn).detach()


def _unless_clipped(drawn: Tensor, targets: Tensor) -> Tensor:
    """Return `drawn` without its errors beyond black and white where the target is black or white.

    Sampling clips them away. A network that need not hit black exactly draws cleaner backgrounds (benchmarks/README.md,
    "Few-step models": overshot).
    """
    beyond = ((targets <= -1) & (drawn < -1)) | ((targets >= 1) & (drawn > 1))
    return torch.where(beyond, targets, drawn)


def _normalised(features: Tensor) -> Tensor:
    features = features.float()
    return features * (features.square().mean(dim=1, keepdim=True) + _LEAST_VARIANCE).rsqrt()

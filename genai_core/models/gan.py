"""GAN: relativistic pairing loss, gradient penalties on real and generated images, networks without normalisation.

After Huang et al. 2025, "The GAN is dead; long live the GAN!" (R3GAN, arXiv 2501.05441). As in their published training
code, the penalties are gradients with respect to the images before augmentation, so they differentiate it too.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from genai_core.config import GanRecipe, GanSampling, SamplingConfig
from genai_core.models.editing import Start, Watch, nearest_noise, noise_of_start
from genai_core.models.networks.adversarial import gradient_penalty, relativistic_loss
from genai_core.models.networks.gan.ada import Ada
from genai_core.models.networks.gan.diffaugment import diff_augment
from genai_core.models.networks.gan.diversity import pair_distances
from genai_core.models.networks.gan.residual import Discriminator, Generator
from genai_core.models.protocol import (
    GenerativeModel,
    ImageShape,
    Loss,
    Part,
    check_classes,
    own_sampling,
    to_uint8,
)

# A healthy generator's images soon differ at least half as much as real ones. A collapsed one generates one image per
# class, with a ratio of a few hundredths.
_COLLAPSED_DIVERSITY = 0.15
# With such a small discriminator loss, the generator's gradient has vanished.
_WON_LOSS = 1e-3
# The objective and the learning rate of a fine-tuned model are its base's own.
_IN_FINETUNING = "; in a fine-tuning, lower finetune.learning_rate_share"


def build(config: GanRecipe, shape: ImageShape) -> "Gan":
    """Build a GAN with random weights."""
    return Gan(config, shape)


class Gan(GenerativeModel):
    """A generator, and the discriminator it is trained against."""

    family = "gan"
    phases = ("discriminator", "generator")
    searches = True
    preview_sampling = GanSampling(truncation=1.0)

    def __init__(self, config: GanRecipe, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.objective = config.objective
        self.latent_dim = config.network.latent_dim
        sizes = (shape.image_size, shape.channels, len(shape.classes), config.network.width, config.network.depth)
        self.generator = Generator(*sizes, latent_dim=self.latent_dim).to(memory_format=torch.channels_last)
        self.discriminator = Discriminator(*sizes).to(memory_format=torch.channels_last)
        target = config.objective.ada_target
        self.ada = None if target is None else Ada(target, config.objective.ada_images)

    def phase_parameters(self, phase: str) -> Sequence[Parameter]:
        return list((self.discriminator if phase == "discriminator" else self.generator).parameters())

    def learning_rate_factor(self, phase: str) -> float:
        """Two time scales (Heusel et al. 2017): a slow discriminator lets the generator collapse."""
        return self.objective.discriminator_rate_factor if phase == "discriminator" else 1.0

    def sampled_network(self) -> nn.Module:
        return self.generator

    def loss(
        self,
        phase: str,
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        part: Part | None = None,
    ) -> Loss:
        latents = torch.randn((len(images), self.latent_dim), generator=generator, device=generator.device)
        latents = latents.to(images.device)
        if phase == "generator":
            return self._generator_loss(images, labels, latents, generator)
        return self._discriminator_loss(images, labels, latents, generator, part or Part(0, len(images), len(images)))

    def _generator_loss(
        self, images: Tensor, labels: Tensor | None, latents: Tensor, generator: torch.Generator
    ) -> Loss:
        fake_scores = self.discriminator(self._augmented(self.generator(latents, labels), generator), labels)
        with torch.no_grad():
            real_scores = self.discriminator(self._augmented(images, generator), labels)
        value = relativistic_loss(fake_scores - real_scores)
        return Loss(value, {"generator_loss": value.detach()})

    def _discriminator_loss(
        self, images: Tensor, labels: Tensor | None, latents: Tensor, generator: torch.Generator, part: Part
    ) -> Loss:
        with torch.no_grad():
            drawn = self.generator(latents, labels)
        # The penalties are the most expensive part (second derivatives); a share of the batch estimates them well
        # enough.
        chosen = penalised(part, self.objective.penalty_share)
        others = [index for index in range(len(images)) if index not in set(chosen)]
        both = torch.cat([images, drawn]).requires_grad_(bool(chosen))
        clean_reals, clean_fakes = both.chunk(2)
        fakes, reals = self._augmented(clean_fakes, generator), self._augmented(clean_reals, generator)
        margins, squares = [], images.new_zeros(2)
        if chosen:
            scores = self._scores(*_chosen(chosen, reals, fakes, labels))
            # Both penalties in one pass, because each score depends only on its own image.
            squares = torch.stack([half.sum() for half in gradient_penalty(scores.flatten(), both).chunk(2)])
            margins.append(_margin(scores))
        if others:
            margins.append(_margin(self._scores(*_chosen(others, reals.detach(), fakes.detach(), labels))))
        margin = torch.cat(margins)
        value = relativistic_loss(margin)
        # Means over the penalised images of the whole batch: the step weights a part by its share of all images.
        r1, r2 = squares / penalties(part.whole, self.objective.penalty_share) * (part.whole / len(images))
        figures = {"discriminator_loss": value, "score_margin": margin.mean(), "r1": r1, "r2": r2}
        # Per image: the step adds up the parts of a batch, each times its share of the images.
        distances = pair_distances(drawn, images, labels)
        figures["pair_distance"], figures["pair_distance_real"] = (total / len(images) for total in distances)
        if self.ada is not None:
            figures["score_sign"] = margin.sign().mean()
            figures["augment_probability"] = self.ada.probability.clone()
        penalty = self.objective.r1_gamma / 2 * (r1 + r2)
        return Loss(value + penalty, {name: figure.detach() for name, figure in figures.items()})

    def end_step(self, batch_images: int, figures: Mapping[str, float]) -> None:
        if self.ada is not None:
            self.ada.update(figures["score_sign"], batch_images)

    def alarm(self, figures: Mapping[str, float]) -> str | None:
        """Detect collapse: nearly one image per class, or a discriminator that has won for good."""
        # Sums over all batches of a row; without a pair of different real images, nothing is known.
        real = figures["pair_distance_real"]
        diversity = figures["pair_distance"] / real if real > 0 else 1.0
        if diversity < _COLLAPSED_DIVERSITY:
            return (
                f"the generator has collapsed: its images differ by {diversity:.3f} times as much as real "
                f"ones within a class (healthy: above {_COLLAPSED_DIVERSITY}); raise objective.r1_gamma, or lower "
                f"training.learning_rate{_IN_FINETUNING}"
            )
        if figures["discriminator_loss"] < _WON_LOSS:
            return (
                f"the discriminator has won: its loss is {figures['discriminator_loss']:.2g}, real images score "
                f"{figures['score_margin']:.3g} above generated ones, and the generator no longer learns; raise "
                "objective.r1_gamma, lower objective.discriminator_rate_factor, or augment "
                f"(objective.augment_policy){_IN_FINETUNING}"
            )
        return None

    def _scores(self, reals: Tensor, fakes: Tensor, labels: Tensor | None) -> Tensor:
        """Score real and generated images, (B, C, H, W) each, with the same labels (B,): (2, B)."""
        images = torch.cat([reals, fakes]).contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.discriminator(images, None if labels is None else torch.cat([labels, labels]))
        return scores.reshape(2, -1)

    def _augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        probability = None if self.ada is None else self.ada.probability
        return diff_augment(images, self.objective.augment_policy, generator, probability)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.latent_dim,)

    @torch.no_grad()
    def sample_from(
        self,
        noise: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        start: Start | None = None,
        watch: Watch | None = None,  # noqa: ARG002 - there is one evaluation
    ) -> Tensor:
        options = own_sampling(sampling, GanSampling)
        check_classes(classes, self.shape, len(noise))
        device = next(self.generator.parameters()).device
        classes = None if classes is None else classes.to(device)

        def generate(noise: Tensor) -> Tensor:
            images: Tensor = self.generator(noise * options.truncation, classes)
            return images

        return to_uint8(generate(noise_of_start(generate, noise.to(device), start)))

    def encode(self, images: Tensor, classes: Tensor | None, sampling: SamplingConfig, begin: Tensor) -> Tensor:
        options = own_sampling(sampling, GanSampling)
        check_classes(classes, self.shape, len(images))
        return nearest_noise(lambda noise: self.generator(noise * options.truncation, classes), images, begin)


def penalties(whole: int, share: float) -> int:
    """Return the number of images with gradient penalties in a batch of `whole` images."""
    return max(1, round(whole * share))


def penalised(part: Part, share: float) -> list[int]:
    """Return which of the part's images are penalised, as indices within the part.

    They are spread evenly over the batch, so that every process has as many, and do not depend on how it is divided.
    """
    count, whole = penalties(part.whole, share), part.whole
    return [
        index - part.first
        for index in range(part.first, part.end)
        if (index + 1) * count // whole > index * count // whole
    ]


def _margin(scores: Tensor) -> Tensor:
    """Return how far real images' scores are above their partners', (B,); scores (2, B), the real ones first."""
    return scores[0] - scores[1]


def _chosen(
    indices: list[int], reals: Tensor, fakes: Tensor, labels: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    places = _on_device(tuple(indices), reals.device)
    return reals[places], fakes[places], None if labels is None else labels[places]


@cache
def _on_device(indices: tuple[int, ...], device: torch.device) -> Tensor:
    """Cached, because a step recorded on a GPU must not copy data to it."""
    return torch.tensor(indices, device=device)

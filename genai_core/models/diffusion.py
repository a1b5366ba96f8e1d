"""Diffusion models with one of two objectives on the same network.

edm: preconditioning, weighting, noise levels and sampler of Karras et al. 2022 (arXiv 2206.00364). flow: flow
matching on a linear path (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003) with logit-normal
times (Esser et al. 2024, arXiv 2403.03206).

Up to scale, a flow's path from image to noise, (1 - t) x / s + t n for images of standard deviation s, is a diffusion
path with noise level sigma = s t / (1 - t). Both are therefore denoisers of x + sigma n. They differ in the scaling of
the network's input, output and loss, and in the time variable of sampling. Logit-normal t is log-normal sigma / s.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from genai_core.config import (
    ClassGroups,
    DiffusionRecipe,
    DiffusionSampling,
    DistilledRecipe,
    GroupedRecipe,
    SamplingConfig,
)
from genai_core.config.models import NO_GUIDANCE
from genai_core.models.editing import Start, Watch, nearest_noise
from genai_core.models.networks.diffusion.augment import PARAMETERS, augment
from genai_core.models.networks.diffusion.class_groups import largest, with_group
from genai_core.models.networks.diffusion.distillation import Distillation
from genai_core.models.networks.diffusion.grouped import GroupedUNet
from genai_core.models.networks.diffusion.levels import (
    evaluations,
    few_step_levels,
    levels_from,
    sampling_levels,
)
from genai_core.models.networks.diffusion.ode import Denoise
from genai_core.models.networks.diffusion.pairs import draw_pairs
from genai_core.models.networks.diffusion.preconditioning import (
    Preconditioning,
    column,
    flow_preconditioning,
    preconditioning,
)
from genai_core.models.networks.diffusion.probability_flow import clean_images, noise_of_images
from genai_core.models.networks.diffusion.redraw import base_of, keeping, watched
from genai_core.models.networks.diffusion.student import first_noise, images_of_noise, student_recipe
from genai_core.models.networks.diffusion.unet import UNet
from genai_core.models.protocol import (
    GenerativeModel,
    ImageShape,
    Lesson,
    Loss,
    Part,
    SamplingError,
    Trainee,
    check_classes,
    own_sampling,
    to_uint8,
)

_TAIL = 1e-9  # tails of the normal distribution that are cut off, because they would give infinite noise levels


def build(config: DiffusionRecipe, shape: ImageShape) -> "Diffusion":
    """Build a diffusion model with random weights."""
    return Diffusion(config, shape)


class Diffusion(GenerativeModel):
    """A denoiser for every noise level; sampling follows its probability flow from noise to a clean image."""

    family = "diffusion"
    phases = ("denoiser",)
    edits_images = True
    has_previews = True
    has_networks_for_classes = True
    preview_sampling: DiffusionSampling = DiffusionSampling(
        sampler="heun",
        steps=12,
        sigma_min=0.002,
        sigma_max=80.0,
        noise_levels=None,
        guidance_scale=1.5,
        guidance_interval=None,
    )

    def __init__(self, config: DiffusionRecipe, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.objective = config.objective
        self.classes = len(shape.classes)
        # Of a model that was distilled: what it was made from, and at which levels it draws.
        self.few_step = config.few_step if isinstance(config, DistilledRecipe) else None
        if self.few_step is not None:
            self.preview_sampling = self.few_step.sampling
            # It knows few noise levels, and its way from noise to image cannot be followed backwards: what other
            # models do with images, it does with the noise nearest to them, as a GAN does.
            self.edits_images, self.searches = False, True
        elif not config.objective.label_dropout:
            self.preview_sampling = self.preview_sampling.model_copy(update={"guidance_scale": NO_GUIDANCE})
        self.network = _network(config, shape).to(memory_format=torch.channels_last)

    def phase_parameters(self, phase: str) -> Sequence[Parameter]:  # noqa: ARG002 - there is one
        network = self.network
        return list(network.active_parameters() if isinstance(network, GroupedUNet) else network.parameters())

    def sampled_network(self) -> nn.Module:
        return self.network

    def loss(
        self,
        phase: str,  # noqa: ARG002 - there is one
        images: Tensor,
        labels: Tensor | None,
        generator: Generator,
        part: Part | None = None,
    ) -> Loss:
        """The network's mean squared error, its target scaled to unit variance (Karras et al. 2022, eq. 8)."""
        count, objective = len(images), self.objective
        log_sigma = (
            self._spread_normal(part or Part(0, count, count), generator) * objective.log_sigma_std
            + objective.log_sigma_mean
        )
        sigma = log_sigma.exp().to(images.device)
        noise = torch.randn(images.shape, generator=generator, device=generator.device).to(images.device)
        hidden = None
        if labels is not None:
            chance = torch.rand(count, generator=generator, device=generator.device)
            hidden = (chance < objective.label_dropout).to(images.device)
        parameters = None
        if objective.augment_share:
            augmented = augment(images, objective.augment, objective.augment_share, generator)
            images, parameters = augmented.images, augmented.parameters
        denoised = self.denoise(images + column(sigma) * noise, sigma, labels, parameters, hidden)
        # The factor of the network's error in the denoiser's error.
        scale = self.preconditioning(sigma).output
        value = (((denoised - images) / column(scale)) ** 2).mean()
        return Loss(value, {"loss": value.detach()})

    @staticmethod
    def _spread_normal(part: Part, generator: Generator) -> Tensor:
        """Standard normal numbers, one per image of the part, stratified: each in its own equally likely interval.

        Every batch thus covers all noise levels, and its gradient varies less (Kingma et al. 2021, arXiv 2107.00630,
        appendix I.1). Each number by itself is still normally distributed.
        """
        device = generator.device
        interval = torch.randperm(part.whole, generator=generator, device=device)[part.first : part.end]
        within = torch.rand(len(interval), generator=generator, dtype=torch.float64, device=device)
        quantile = (interval + within) / part.whole
        normal: Tensor = torch.special.ndtri(quantile.clamp(_TAIL, 1.0 - _TAIL)).float()
        return normal

    def distillation(
        self,
        recipe: DiffusionRecipe,
        lesson: Lesson,
        cache: Path,
        on_progress: Callable[[int], None],
    ) -> Trainee:
        if self.few_step is not None:
            raise ValueError(
                f"this model draws in {self.few_step.steps} evaluations already: a few-step model is made from a model "
                "that draws in many, such as the one that it was made from"
            )
        distilled = student_recipe(recipe, lesson)
        pairs = draw_pairs(
            self, lesson.weights, lesson.sampling, lesson.labels, lesson.pairs, recipe.training.seed, cache, on_progress
        )
        return Trainee(Distillation(self, Diffusion(distilled, self.shape), pairs), distilled)

    def with_own_network(self, recipe: DiffusionRecipe, new_classes: Sequence[str]) -> Trainee:
        """Return this model with another network, a copy of the one that draws the most of its classes.

        As the protocol says. Raises ValueError for a few-step model.
        """
        if self.few_step is not None:
            raise ValueError("a few-step model learns no new classes: fine-tune its teacher, and make another one")
        one = ClassGroups(networks=(self.shape.classes,))
        groups = recipe.class_groups if isinstance(recipe, GroupedRecipe) else one
        own = {name: getattr(recipe, name) for name in DiffusionRecipe.model_fields}
        grouped = GroupedRecipe(**own, class_groups=with_group(groups, new_classes))
        model = Diffusion(grouped, self.shape)
        assert isinstance(model.network, GroupedUNet)
        known = list(self.network.networks) if isinstance(self.network, GroupedUNet) else [self.network]
        for network, begin in zip(model.network.networks, [*known, known[largest(groups)]], strict=True):
            network.load_state_dict(begin.state_dict())
        model.learn_only([self.shape.classes.index(name) for name in new_classes])
        return Trainee(model, grouped)

    def learn_only(self, classes: Sequence[int]) -> None:
        if isinstance(self.network, GroupedUNet):
            self.network.learn_only(classes)

    def classes_of_all_weights(self) -> Sequence[int]:
        return self.network.first_classes() if isinstance(self.network, GroupedUNet) else (0,)

    def preconditioning(self, sigma: Tensor) -> Preconditioning:
        """Return the scales of this model's objective at noise levels sigma (B,)."""
        scales = flow_preconditioning if self.objective.kind == "flow" else preconditioning
        return scales(sigma, self.objective.sigma_data)

    def denoise(
        self,
        images: Tensor,
        sigma: Tensor,
        labels: Tensor | None,
        augmentation: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Estimate the clean images from images (B, C, H, W) with noise of standard deviation sigma (B,).

        labels (B,) int64, or class weights (B, classes); None for an unconditional model. augmentation (B, 4): how the
        clean images were augmented, None for not at all (Karras et al. 2022, eq. 7). hidden (B,) bool: from which
        images the network hides their label; None: from none.
        """
        scale = self.preconditioning(sigma)
        inputs = (column(scale.input) * images).contiguous(memory_format=torch.channels_last)
        output = self.network(inputs, scale.noise, labels, augmentation, hidden).float()
        denoised: Tensor = column(scale.skip) * images + column(scale.output) * output
        return denoised

    def features(self, images: Tensor, sigma: Tensor, labels: Tensor | None) -> list[Tensor]:
        """Return what the network's way down knows of noisy images, a map per level; arguments as for `denoise`.

        labels may be the number of classes, for "no label".
        """
        scale = self.preconditioning(sigma)
        inputs = (column(scale.input) * images).contiguous(memory_format=torch.channels_last)
        return self.network.features(inputs, scale.noise, labels)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.shape.chw

    @torch.no_grad()
    def sample_from(
        self,
        noise: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        start: Start | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """Sample as the protocol says. Also raises SamplingError for guidance of a model trained without label dropout.

        A start image gets the noise of the level at `strength` of the way (SDEdit, Meng et al. 2021, arXiv 2108.01073).
        """
        options = own_sampling(sampling, DiffusionSampling)
        check_classes(classes, self.shape, len(noise))
        if classes is not None and options.guidance_scale != NO_GUIDANCE and not self.objective.label_dropout:
            raise SamplingError(
                f"sampling.guidance_scale: got {options.guidance_scale}; allowed: {NO_GUIDANCE}, because this model "
                "was trained with objective.label_dropout 0 and cannot generate images without a label"
            )
        device = next(self.network.parameters()).device
        noise = noise.to(device)
        classes = None if classes is None else classes.to(device)
        levels = self._levels(options)
        denoise: Denoise = partial(self._guided, classes=classes, sampling=options)
        if self.few_step is not None:
            noise, start = first_noise(images_of_noise(denoise, levels, self.noise_shape), noise, start), None
        if start is not None:
            levels = levels_from(levels, start.strength, options.sigma_min)
        if start is not None and start.mask is not None:
            denoise = keeping(denoise, start.images, start.mask)
        if watch is not None:
            denoise = watched(denoise, evaluations(options.sampler, levels), watch)
        return to_uint8(clean_images(denoise, noise, base_of(start), levels, options.sampler, self.objective))

    def _levels(self, options: DiffusionSampling) -> list[float]:
        """Return the noise levels of sampling. Raises SamplingError for a sampler that is not this model's."""
        distilled = self.few_step
        if (options.sampler == "few_step") != (distilled is not None):
            allowed = "few_step, because" if distilled else "heun, euler or multistep, because only"
            one = "this is a few-step model" if distilled else "models made with finetune.kind few_step draw so"
            raise SamplingError(f"sampling.sampler: got {options.sampler}; allowed: {allowed} {one}")
        if distilled is None:
            return sampling_levels(options)
        try:
            return few_step_levels(distilled, options.steps)
        except ValueError as error:
            raise SamplingError(str(error)) from None

    @torch.no_grad()
    def encode(
        self,
        images: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        begin: Tensor,
    ) -> Tensor:
        """Return noise as the protocol says, by the probability flow in reverse (Song et al. 2021, arXiv 2011.13456).

        The flow is that of the guided denoiser. A few-step model has none: the noise is searched, as for a GAN.
        """
        options = own_sampling(sampling, DiffusionSampling)
        check_classes(classes, self.shape, len(images))
        levels = self._levels(options)
        denoise: Denoise = partial(self._guided, classes=classes, sampling=options)
        if self.few_step is not None:
            return nearest_noise(images_of_noise(denoise, levels, self.noise_shape), images, begin)
        return noise_of_images(denoise, images, levels, options, self.objective.sigma_data)

    def _guided(self, images: Tensor, sigma: float, classes: Tensor | None, sampling: DiffusionSampling) -> Tensor:
        """Classifier-free guidance (Ho and Salimans 2022): move away from the unconditional estimate.

        Outside `guidance_interval`, use only the conditional estimate: at high noise guidance reduces variety, at low
        noise it changes little (Kynkäänniemi et al. 2024, arXiv 2404.07724), and this saves one network call.
        """
        sigmas = images.new_full((len(images),), sigma)
        conditional = self.denoise(images, sigmas, classes)
        scale, interval = sampling.guidance_scale, sampling.guidance_interval
        outside = interval is not None and not interval[0] <= sigma <= interval[1]
        if classes is None or scale == NO_GUIDANCE or outside:
            return conditional
        all_hidden = torch.ones(len(images), dtype=torch.bool, device=images.device)
        unconditional = self.denoise(images, sigmas, classes, hidden=all_hidden)
        return unconditional + scale * (conditional - unconditional)


def _network(config: DiffusionRecipe, shape: ImageShape) -> UNet | GroupedUNet:
    """Build the network, or one for each group of classes."""
    make = partial(
        UNet,
        shape.image_size,
        shape.channels,
        len(shape.classes),
        config.network.width,
        config.network.depth,
        augmentations=PARAMETERS if config.objective.augment_share else 0,
    )
    if not isinstance(config, GroupedRecipe):
        return make()
    groups = config.class_groups.numbers(shape.classes)
    return GroupedUNet([make() for _ in config.class_groups.networks], groups)

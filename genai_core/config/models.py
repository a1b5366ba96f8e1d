"""The model families: network, objective and sampling of each block of `models:`."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from genai_core.config.section import PositiveInt, Section, Share
from genai_core.config.training import TrainingConfig

NO_GUIDANCE = 1.0
FEW_STEPS = (1, 2, 4)  # network evaluations of a model that was distilled

NotNegative = Annotated[float, Field(ge=0.0)]
NoiseLevel = Annotated[float, Field(gt=0.0)]
Interval = Annotated[tuple[NotNegative, NotNegative], Field(strict=False)]
NoiseLevels = Annotated[tuple[NoiseLevel, ...], Field(strict=False)]
Stride = Literal[2, 4, 8, 16]
FewSteps = Literal[1, 2, 4]
STRIDES: tuple[Stride, ...] = get_args(Stride)


class DiffusionNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels of the first level")
    depth: int = Field(ge=1, le=8, description="residual blocks per level")


class DiffusionObjective(Section):
    kind: Literal["edm", "flow"] = Field(description="edm: preconditioned denoiser; flow: flow matching, linear path")
    sigma_data: float = Field(gt=0.0, description="standard deviation of the images in [-1, 1]")
    log_sigma_mean: float
    log_sigma_std: float = Field(gt=0.0)
    label_dropout: Share = Field(description="share of labels hidden in training, for guidance")
    augment: tuple[Literal["flip", "translation", "scale"], ...] = Field(strict=False)
    augment_share: Share = Field(description="probability of each; the network is told, so samples show none of it")


class DiffusionSampling(Section):
    sampler: Literal["heun", "euler", "multistep", "few_step"] = Field(
        description="few_step: only of models that finetune.kind few_step has made, and they draw with no other"
    )
    steps: int = Field(
        ge=1, le=1000, description="network calls: 2 n - 1 with heun, else n; twice as many where guidance applies"
    )
    sigma_min: float = Field(gt=0.0, description="the smallest noise level before 0")
    # Sampling starts from pure noise, as if nothing of an image were visible. An image's mean stays visible the
    # longest: sigma_max over the root of the image's pixels (the side of a square) must be several times the spread of
    # the images' means.
    sigma_max: float = Field(gt=0.0, description="the noise level at which sampling starts")
    noise_levels: NoiseLevels | None = Field(
        description="as many levels as steps, largest first; null: spaced between sigma_max and sigma_min"
    )
    guidance_scale: float = Field(
        ge=0.0, le=20.0, description="1.0: no guidance; others need objective.label_dropout above 0"
    )
    guidance_interval: Interval | None = Field(
        description="lowest and highest noise level at which guidance applies; null: at all levels"
    )

    @model_validator(mode="after")
    def _levels_are_in_order(self) -> "DiffusionSampling":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min: got {self.sigma_min}; allowed: below sigma_max, {self.sigma_max}")
        levels = self.noise_levels
        if levels is not None and (len(levels) != self.steps or any(a <= b for a, b in pairwise(levels))):
            raise ValueError(
                f"noise_levels: got {[*levels]}; allowed: null, or as many as steps, {self.steps}, each below the one "
                "before"
            )
        if self.guidance_interval is not None and self.guidance_interval[0] > self.guidance_interval[1]:
            raise ValueError(f"guidance_interval: got {[*self.guidance_interval]}; allowed: the lower level first")
        return self

    @model_validator(mode="after")
    def _few_steps_are_bare(self) -> "DiffusionSampling":
        if self.sampler != "few_step":
            return self
        if self.steps not in FEW_STEPS:
            raise ValueError(f"steps: got {self.steps}; allowed: 1, 2 or 4 with the sampler few_step")
        if self.guidance_scale != NO_GUIDANCE:
            raise ValueError(
                f"guidance_scale: got {self.guidance_scale}; allowed: {NO_GUIDANCE} with the sampler few_step, whose "
                "models have learned their teacher's guidance"
            )
        if self.noise_levels is not None:
            raise ValueError("noise_levels: allowed: null with the sampler few_step, whose levels the model fixes")
        return self


class DiffusionRecipe(Section):
    """A denoiser for every noise level, by EDM (Karras et al. 2022) or flow matching (Lipman et al. 2023)."""

    family: Literal["diffusion"]
    network: DiffusionNetwork
    objective: DiffusionObjective
    training: TrainingConfig


class FewStep(Section):
    """What a few-step model adds to its teacher's recipe; only in its config.json, never in params.yaml."""

    teacher: str = Field(description="sha256 of the weights that it was made from")
    steps: FewSteps = Field(description="the most network evaluations that it was trained for")
    noise_levels: NoiseLevels = Field(description="of these evaluations, largest first")
    teacher_sampling: DiffusionSampling = Field(description="what it learned to draw like")

    @property
    def sampling(self) -> DiffusionSampling:
        """How the model draws, with as many evaluations as it was trained for. The levels are its own."""
        return DiffusionSampling(
            sampler="few_step",
            steps=self.steps,
            sigma_min=self.teacher_sampling.sigma_min,
            sigma_max=self.teacher_sampling.sigma_max,
            noise_levels=None,
            guidance_scale=NO_GUIDANCE,
            guidance_interval=None,
        )


class DistilledRecipe(DiffusionRecipe):
    """A diffusion model that draws in a few network evaluations."""

    few_step: FewStep


class ClassGroups(Section):
    """Which network draws which classes, of a model with several; only in its config.json, never in params.yaml."""

    networks: tuple[Annotated[tuple[str, ...], Field(strict=False, min_length=1)], ...] = Field(
        strict=False, min_length=1, description="each one's classes"
    )

    def numbers(self, classes: Sequence[str]) -> list[int]:
        """Return the number of each class's network. Raises ValueError unless each class has exactly one."""
        named = [name for group in self.networks for name in group]
        if sorted(named) != sorted(classes):
            known = ", ".join(classes) or "no class"
            raise ValueError(f"class_groups: got {', '.join(named)}; allowed: each of the classes once: {known}")
        return [next(number for number, group in enumerate(self.networks) if name in group) for name in classes]


class GroupedRecipe(DiffusionRecipe):
    """A diffusion model that has learned new classes in separate networks (finetune.old_classes: keep)."""

    class_groups: ClassGroups


class GroupedDistilledRecipe(GroupedRecipe, DistilledRecipe):
    """A model with several networks, each of which draws in a few evaluations."""


class DiffusionConfig(DiffusionRecipe):
    """A recipe with its sampling options."""

    sampling: DiffusionSampling

    @field_validator("sampling", mode="before")
    @classmethod
    def _takes_many_steps(cls, value: Any) -> Any:
        """Refuse few_step here, not after the training: no model of `models:` draws so."""
        if isinstance(value, dict) and value.get("sampler") == "few_step":
            allowed = "'heun', 'euler' or 'multistep'; models that finetune.kind few_step makes draw so by themselves"
            fault = InitErrorDetails(
                type=PydanticCustomError("value_error", allowed), loc=("sampler",), input="few_step"
            )
            raise ValidationError.from_exception_data(cls.__name__, [fault])
        return value

    @model_validator(mode="after")
    def _guidance_has_label_dropout(self) -> "DiffusionConfig":
        if self.sampling.guidance_scale != NO_GUIDANCE and not self.objective.label_dropout:
            raise ValueError(
                f"objective.label_dropout: got {self.objective.label_dropout}; allowed: above 0, because "
                f"sampling.guidance_scale is {self.sampling.guidance_scale} ({NO_GUIDANCE} means no guidance)"
            )
        return self


class GanNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels of the first level")
    depth: int = Field(ge=1, le=8, description="residual blocks per level")
    latent_dim: int = Field(ge=1, le=4096)


class GanObjective(Section):
    r1_gamma: float = Field(ge=0.0, description="weight of the R1 and R2 gradient penalties")
    penalty_share: float = Field(gt=0.0, le=1.0, description="share of each batch used for the penalties")
    discriminator_rate_factor: float = Field(gt=0.0, le=100.0, description="its learning rate over the generator's")
    augment_policy: tuple[Literal["translation", "cutout", "colour"], ...] = Field(strict=False)
    ada_target: Share | None = Field(
        description="how certain the discriminator may be before more images are augmented; null: all are augmented"
    )
    ada_images: PositiveInt = Field(description="minimum images for the share of augmented images to go from 0 to 1")


class GanSampling(Section):
    truncation: float = Field(gt=0.0, le=1.0, description="scale of the latent; smaller: safer, less varied")


class GanRecipe(Section):
    """Relativistic pairing GAN with R1 and R2 (Huang et al. 2025), DiffAugment (Zhao et al. 2020) and ADA."""

    family: Literal["gan"]
    network: GanNetwork
    objective: GanObjective
    training: TrainingConfig


class GanConfig(GanRecipe):
    """A recipe with its sampling options."""

    sampling: GanSampling


class VaeNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels of the first level")
    depth: int = Field(ge=1, le=8, description="residual blocks per level")
    latent_dim: int = Field(ge=2, le=4096)
    flow_layers: int = Field(ge=0, le=64, description="of the learned prior; 0: a standard normal prior")


class VaeObjective(Section):
    kl_warmup_images: int = Field(ge=0, description="images over which the KL weight rises from 0 to 1")


class VaeSampling(Section):
    temperature: float = Field(gt=0.0, le=2.0, description="scale of the prior's noise; smaller: safer, less varied")


class VaeRecipe(Section):
    """VAE with a learned output variance (Rybkin et al. 2021) and a flow as its prior."""

    family: Literal["vae"]
    network: VaeNetwork
    objective: VaeObjective
    training: TrainingConfig


class VaeConfig(VaeRecipe):
    """A recipe with its sampling options."""

    sampling: VaeSampling


class VqvaeNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels at half the image's resolution")
    depth: int = Field(ge=1, le=8, description="residual blocks per resolution of the tokenizer")
    stride: Stride = Field(description="pixels per token along a side")
    levels: tuple[Annotated[int, Field(ge=2, le=64)], ...] = Field(
        strict=False,
        min_length=1,
        max_length=8,
        description="levels of each quantised channel; their product is the number of possible tokens",
    )
    prior_width: int = Field(ge=32, le=4096, multiple_of=32)
    prior_depth: int = Field(ge=1, le=64, description="layers of the transformer")


class VqvaeObjective(Section):
    tokenizer_share: float = Field(gt=0.0, lt=1.0, description="first share of the run, before the prior is trained")
    prior_rate_factor: float = Field(gt=0.0, le=100.0, description="its learning rate over the tokenizer's")


class VqvaeSampling(Section):
    temperature: float = Field(gt=0.0, le=10.0, description="divides the logits; smaller: safer, less varied")
    top_k: PositiveInt | None = Field(
        description="sample only from this many most likely levels of a channel, at most 64; null: all"
    )


class VqvaeRecipe(Section):
    """VQ-VAE by finite scalar quantisation (Mentzer et al. 2023), and a causal transformer over its tokens."""

    family: Literal["vqvae"]
    network: VqvaeNetwork
    objective: VqvaeObjective
    training: TrainingConfig


class VqvaeConfig(VqvaeRecipe):
    """A recipe with its sampling options."""

    sampling: VqvaeSampling


# A recipe determines a model's weights; a config adds the sampling options.
ModelRecipe = Annotated[DiffusionRecipe | GanRecipe | VaeRecipe | VqvaeRecipe, Field(discriminator="family")]
ModelConfig = Annotated[DiffusionConfig | GanConfig | VaeConfig | VqvaeConfig, Field(discriminator="family")]
SamplingConfig = DiffusionSampling | GanSampling | VaeSampling | VqvaeSampling

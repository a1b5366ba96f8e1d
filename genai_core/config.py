"""params.yaml as frozen types: the only reader of YAML, and no import of torch, so that flows may use it.

No field has a default. Whatever shaped a model is written in params.yaml, where DVC compares it; a default
in the code would change what a stage makes without anything that DVC watches having changed.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PARAMS_FILE = "params.yaml"

# A task's exit status for a fault of its input or config: running it again without a change would only fail again.
NEEDS_A_PERSON = 2

# Model names become part of a shell command (dvc.yaml: cmd), of paths and of stage names.
MODEL_NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"

ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME_PATTERN)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Level = Annotated[int, Field(ge=0, le=255)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
LearningRate = Annotated[float, Field(gt=0.0, le=1.0)]


class ConfigError(ValueError):
    """params.yaml cannot be used; the message has one line a fault: the key, its value, what is allowed."""


class Section(BaseModel):
    """One mapping of params.yaml: immutable, unknown keys refused, finite numbers only, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """The prepare stage: from files of any kind to square uint8 images in shards."""

    image_size: int = Field(ge=8, le=256, multiple_of=4, description="pixels a side")
    channels: Literal[1, 3] = Field(description="1 grey, 3 colour")
    fit: Literal["crop", "pad"] = Field(description="how a picture that is not square becomes square")
    background: tuple[Level, Level, Level] = Field(strict=False, description="RGB under transparency and padding")
    test_share: float = Field(gt=0.0, lt=1.0, description="share held out from training")
    max_rejected_share: Share = Field(description="more rejected files than this stop the stage")
    max_megapixels: float = Field(gt=0.0, le=1000.0, description="larger files are rejected before decoding")
    near_duplicate_distance: float | None = Field(
        gt=0.0,
        le=1.0,
        description="pixel difference over contrast up to which images look the same; null: not looked for",
    )
    shard_images: PositiveInt = Field(description="images a shard file at most")
    max_removed_share: Share = Field(description="a shard with more removed images is written anew; 0: they go at once")


class FlipConfig(Section):
    """Mirrored, each way with a chance of one half."""

    horizontal: bool
    vertical: bool


class MoveConfig(Section):
    """Turned, shifted and scaled; what comes in at the edge goes on with what is there."""

    rotate_degrees: float = Field(ge=0.0, le=180.0, description="uniform in +- this")
    translate_share: float = Field(ge=0.0, le=0.5, description="of the image's side, uniform in +- this")
    zoom_share: float = Field(ge=0.0, lt=1.0, description="scale uniform in 1 +- this")


class CropConfig(Section):
    """A part of the image, resized to the whole."""

    min_area_share: float = Field(gt=0.0, le=1.0, description="of the image; the part's area is uniform in this to 1")
    max_aspect_ratio: float = Field(ge=1.0, le=4.0, description="of the part: log-uniform in 1 / this to this")


class ColourConfig(Section):
    """Factors uniform in 1 +- the value, in an order that is drawn too; the last two change nothing in grey images."""

    brightness: Share
    contrast: Share
    saturation: Share
    hue: float = Field(ge=0.0, le=0.5, description="of the colour circle, uniform in +- this")


class RandAugmentConfig(Section):
    """Operations drawn from a fixed list of fourteen (Cubuk et al. 2020)."""

    operations: int = Field(ge=1, le=14, description="one after the other for each copy")
    magnitude: int = Field(ge=1, le=30, description="of the paper's 30 levels")


PolicyStep = Literal["flip", "move", "crop", "colour", "randaugment"]


def _none_is_empty(value: object) -> object:
    return () if value == "none" else value


class AugmentConfig(Section):
    """The augment stage: new training images from old ones, drawn once, seeded by image."""

    expand: float = Field(ge=1.0, le=100.0, description="train images after / before; 1.0 adds none")
    balance_classes: bool = Field(description="rare classes get more of the new images")
    policy: Annotated[tuple[PolicyStep, ...], BeforeValidator(_none_is_empty)] = Field(
        strict=False, description="what a copy differs by: the sections below that are applied, in this order; or none"
    )
    flip: FlipConfig
    move: MoveConfig
    crop: CropConfig
    colour: ColourConfig
    randaugment: RandAugmentConfig
    seed: Seed

    @model_validator(mode="after")
    def _policy_makes_sense(self) -> "AugmentConfig":
        if len(set(self.policy)) < len(self.policy):
            raise ValueError(f"policy: got {list(self.policy)}; allowed: each name once")
        for step in self.policy:
            if getattr(self, step) == STILL.get(step):
                raise ValueError(f"policy: {step} is listed, but the section {step} changes nothing; leave it out")
        if self.expand > 1 and not self.policy and not self.balance_classes:
            raise ValueError(
                f"policy: got none with expand: {self.expand}, which would only repeat every image; "
                "allowed: expand: 1.0, balance_classes: true, or a policy"
            )
        return self


# Sections that, listed in a policy, would do nothing.
STILL: dict[str, Section] = {
    "flip": FlipConfig(horizontal=False, vertical=False),
    "move": MoveConfig(rotate_degrees=0.0, translate_share=0.0, zoom_share=0.0),
    "crop": CropConfig(min_area_share=1.0, max_aspect_ratio=1.0),
    "colour": ColourConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0),
}


class ExtractorConfig(Section):
    """The network whose features FD and IS are measured in; it names the figures, as in fd_classifier."""

    kind: Literal["classifier", "self_supervised"] = Field(description="self_supervised needs no labels")
    width: int = Field(ge=8, le=512)
    feature_dim: int = Field(ge=8, le=4096)
    total_images: PositiveInt = Field(description="training images seen, with repetition")
    batch_images: PositiveInt
    learning_rate: LearningRate
    decorrelation: float = Field(ge=0.0, le=10.0, description="weight of the features' covariances in the loss")
    seed: Seed


class TrainingConfig(Section):
    """What the training engine does, whatever the family."""

    total_images: PositiveInt = Field(description="images seen, with repetition")
    batch_images: PositiveInt
    learning_rate: LearningRate
    warmup_images: int = Field(ge=0, description="the learning rate rises over these")
    decay_share: Share = Field(description="share of the run, at its end, over which the learning rate falls to 0")
    adam_betas: tuple[Beta, Beta] = Field(strict=False)
    weight_decay: float = Field(ge=0.0)
    ema_halflife_images: PositiveInt = Field(description="images after which half of the averaged weights is new")
    gradient_clip_norm: float | None = Field(gt=0.0, description="null: no clipping")
    precision: Literal["auto", "bf16", "fp32"] = Field(description="auto: bf16 where the processor has it")
    seed: Seed


class DiffusionNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels of the first level")
    depth: int = Field(ge=1, le=8, description="residual blocks a level")


class DiffusionObjective(Section):
    sigma_data: float = Field(gt=0.0, description="standard deviation of the images in [-1, 1]")
    log_sigma_mean: float
    log_sigma_std: float = Field(gt=0.0)
    label_dropout: Share = Field(description="share of labels hidden in training, for guidance")


class DiffusionSampling(Section):
    steps: int = Field(ge=1, le=1000, description="Heun steps; network evaluations are 2 n - 1")
    sigma_min: float = Field(gt=0.0, description="the smallest noise level before 0")
    sigma_max: float = Field(gt=0.0, description="the noise level that drawing starts from")
    guidance_scale: float = Field(ge=0.0, le=20.0, description="1.0: no guidance")

    @model_validator(mode="after")
    def _levels_go_down(self) -> "DiffusionSampling":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min below sigma_max, {self.sigma_max}")
        return self


class DiffusionRecipe(Section):
    """EDM (Karras et al. 2022): preconditioned denoiser, log-normal noise levels, Heun sampler."""

    family: Literal["diffusion"]
    network: DiffusionNetwork
    objective: DiffusionObjective
    training: TrainingConfig


class DiffusionConfig(DiffusionRecipe):
    """The recipe, and how images are drawn."""

    sampling: DiffusionSampling


class GanNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels of the first level")
    depth: int = Field(ge=1, le=8, description="residual blocks a level")
    latent_dim: int = Field(ge=1, le=4096)


class GanObjective(Section):
    r1_gamma: float = Field(ge=0.0, description="weight of the R1 and R2 gradient penalties")
    penalty_share: float = Field(gt=0.0, le=1.0, description="share of each batch that the penalties are taken on")
    discriminator_rate_factor: float = Field(gt=0.0, le=100.0, description="its learning rate over the generator's")
    augment_policy: tuple[Literal["translation", "cutout", "colour"], ...] = Field(strict=False)


class GanSampling(Section):
    truncation: float = Field(gt=0.0, le=1.0, description="scale of the latent; smaller: safer, less varied")


class GanRecipe(Section):
    """Relativistic pairing GAN with R1 and R2 (Huang et al. 2025), DiffAugment (Zhao et al. 2020)."""

    family: Literal["gan"]
    network: GanNetwork
    objective: GanObjective
    training: TrainingConfig


class GanConfig(GanRecipe):
    """The recipe, and how images are drawn."""

    sampling: GanSampling


# A recipe says how a model's weights come about; a config says besides how its images are drawn.
ModelRecipe = Annotated[DiffusionRecipe | GanRecipe, Field(discriminator="family")]
ModelConfig = Annotated[DiffusionConfig | GanConfig, Field(discriminator="family")]


class EvaluationConfig(Section):
    """The evaluate stage: generated images against the reference statistics."""

    total_images: int = Field(ge=2, description="generated images, labels in equal shares")
    batch_images: PositiveInt
    seed: Seed = Field(description="image i is drawn from seed + i")
    is_splits: PositiveInt = Field(description="the inception score is the mean over so many parts")

    @model_validator(mode="after")
    def _no_empty_split(self) -> "EvaluationConfig":
        if self.is_splits > self.total_images:
            raise ValueError(f"is_splits: got {self.is_splits}; allowed: at most total_images, {self.total_images}")
        return self


class SelectionConfig(Section):
    metric: Literal["fd_classifier", "fd_self_supervised"] = Field(
        description="figure by which the best model is chosen"
    )


class FinetuneConfig(Section):
    """The best model goes on from its weights, at a small learning rate, on images that are not augmented.

    What is not said here is as in the model's own training section.
    """

    total_images: PositiveInt
    learning_rate_share: float = Field(gt=0.0, le=1.0, description="of the model's own learning rate")
    warmup_images: int = Field(ge=0)
    ema_halflife_images: PositiveInt
    seed: Seed


class GenerateConfig(Section):
    total_images: PositiveInt
    batch_images: PositiveInt
    seed: Seed = Field(description="image i is drawn from seed + i")
    format: Literal["png", "tar"]


class ReportConfig(Section):
    title: str
    grid_images: int = Field(ge=1, le=400)


class ComputeConfig(Section):
    """How a run is done, never what it makes: no stage of dvc.yaml depends on this section."""

    accelerator: Literal["auto", "cpu", "cuda"]
    cpu_threads: int = Field(ge=1, le=1024, description="threads, and so cores, that one stage takes")
    stages_per_gpu: PositiveInt = Field(description="stages that may share one GPU")
    checkpoint_every_s: float = Field(gt=0.0)
    resident_share: Share = Field(
        description="of the device's memory; a larger train split is read from disk as it goes"
    )


class RetrainConfig(Section):
    """When a retraining is worth it (flows/policy.py). No stage of dvc.yaml depends on this section."""

    finetune_changed_share: float = Field(gt=0.0, le=1.0, description="images new or gone from which to fine-tune")
    train_changed_share: float = Field(gt=0.0, le=1.0, description="from which to train from scratch")
    finetune_drift_over_floor: float = Field(ge=1.0, description="FD of new against old images over that of old ones")
    train_drift_over_floor: float = Field(ge=1.0)
    max_age_days: float | None = Field(gt=0.0, description="an older production is fine-tuned; null: age is no reason")
    budget_device_hours: float = Field(ge=0.0, description="of all retrainings within budget_days; 0: none")
    budget_days: float = Field(gt=0.0)

    @model_validator(mode="after")
    def _training_is_for_more(self) -> "RetrainConfig":
        for what in ("changed_share", "drift_over_floor"):
            less, more = getattr(self, f"finetune_{what}"), getattr(self, f"train_{what}")
            if less > more:
                raise ValueError(f"train_{what}: got {more}; allowed: at least finetune_{what}, {less}")
        return self


class GateConfig(Section):
    """What a candidate must reach to replace production (flows/gate.py). No stage of dvc.yaml depends on it."""

    max_worse_share: float = Field(gt=0.0, le=1.0, description="end of the difference's interval over the champion's")
    max_memorised_share: Share = Field(description="of the images that the candidate draws")
    min_recall_share: Share = Field(description="of the recall that held-out real images have")
    min_class_coverage: Share = Field(description="of each class's real images, that the model covers")
    max_device_hours: float = Field(gt=0.0, description="that one retraining may take")


class Config(Section):
    """The whole of params.yaml."""

    data: DataConfig
    augment: AugmentConfig
    extractor: ExtractorConfig
    models: dict[ModelName, ModelConfig] = Field(min_length=1)
    evaluation: EvaluationConfig
    selection: SelectionConfig
    finetune: FinetuneConfig
    generate: GenerateConfig
    report: ReportConfig
    compute: ComputeConfig
    retrain: RetrainConfig
    gate: GateConfig

    @model_validator(mode="after")
    def _selection_metric_is_measured(self) -> "Config":
        measured = f"fd_{self.extractor.kind}"
        if self.selection.metric != measured:
            raise ValueError(
                f"selection.metric: got {self.selection.metric!r}; allowed: {measured}, "
                f"as extractor.kind is {self.extractor.kind}"
            )
        return self

    def model(self, name: str) -> ModelConfig:
        """The model of that name. Raises ConfigError that lists the names there are."""
        if name not in self.models:
            known = ", ".join(self.models)
            raise ConfigError(f"{PARAMS_FILE}: models.{name}: there is no such model; there are: {known}")
        return self.models[name]


def load_config(path: Path) -> Config:
    """Read and check a params.yaml. Raises ConfigError with one line for each fault."""
    try:
        # The parser that DVC reads the file with: with another one, `1e-3` is a number here and a string there.
        values = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run genai in a checkout, or name one with --workspace") from None
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections such as data: and models:, got {type(values).__name__}")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(path.name, item) for item in error.errors())) from None


def _fault(file: str, item: Any) -> str:
    """One line for one of pydantic's error items: file, key, value, what is allowed."""
    kind, context = item["type"], item.get("ctx", {})
    # Pydantic puts the chosen branch of a union into the location; it is no key of the file.
    location = [str(part) for part in item["loc"]]
    if location[:1] == ["models"] and len(location) > 2 and kind != "union_tag_invalid":
        location = location[:2] + location[3:]
    key = ".".join(part for part in location if part != "[key]")
    if kind == "missing":
        return f"{file}: {key}: missing; every key must be written out"
    if kind == "extra_forbidden":
        return f"{file}: {key}: unknown key; see genai_core/config.py for the keys there are"
    if kind == "union_tag_invalid":
        return f"{file}: {key}.family: got {context['tag']!r}; allowed: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{file}: {key}.family: missing; it names the model family"
    if kind == "string_pattern_mismatch":
        return f"{file}: {key}: not a usable name; allowed: small letters, digits, _ and -, a letter first, 32 at most"
    value = item["input"]
    if isinstance(value, float) and not math.isfinite(value):
        return f"{file}: {key}: got {value}; allowed: a finite number"
    allowed = re.sub(r"^(Input should be |Value error, )", "", item["msg"])
    if kind == "value_error" and isinstance(value, dict):
        # A rule over a whole section: its values would bury what is wrong.
        return f"{file}: {key}{': ' if key else ''}{allowed}"
    return f"{file}: {key}: got {value!r}; allowed: {allowed}"

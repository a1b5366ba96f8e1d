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

MOST_TOKENS = 65_536  # of a VQ-VAE: its prior has a weight vector for each

# Model names become part of a shell command (dvc.yaml: cmd), of paths and of stage names.
MODEL_NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"

ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME_PATTERN)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Level = Annotated[int, Field(ge=0, le=255)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
# The first 8 digits or more: torch's hub names files by as many.
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
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


class TrainedExtractorConfig(Section):
    """A small network that learns this dataset: for images that are nothing like photographs."""

    kind: Literal["classifier", "self_supervised"] = Field(description="self_supervised needs no labels")
    width: int = Field(ge=8, le=512)
    feature_dim: int = Field(ge=8, le=4096)
    total_images: PositiveInt = Field(description="training images seen, with repetition")
    batch_images: PositiveInt
    learning_rate: LearningRate
    decorrelation: float = Field(ge=0.0, le=10.0, description="weight of the features' covariances in the loss")
    seed: Seed


class InceptionExtractorConfig(Section):
    """The network of the published FID: Inception v3 of December 2015, in torch-fidelity's form."""

    kind: Literal["inception"]
    weights: str | None = Field(description="torch-fidelity's weights file; null: its own download")
    weights_sha256: Sha256 = Field(description="of that file; torch-fidelity's own begins with 6726825d")
    precision: Literal["fp32", "bf16"] = Field(description="fp32 for figures that are reported")


class ModuleExtractorConfig(Section):
    """Any torch.nn.Module that a function returns, of torchvision or of the user. Its code is run as it is."""

    kind: Literal["module"]
    factory: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] = Field(
        description="package.module:function, which returns the network"
    )
    arguments: dict[str, str | int | float | bool | None] = Field(description="what the function is called with")
    layer: str | None = Field(description="submodule whose output is the features; null: the network's output")
    weights: str | None = Field(description="safetensors, or a .pth of plain tensors; null: as the function returns it")
    weights_sha256: Sha256 | None = Field(description="of that file")
    resize_px: int | None = Field(ge=8, le=1024, description="images are brought to this side; null: as they are")
    scaling: Literal["uint8", "imagenet"] = Field(description="uint8 pixels, or 0..1 normalised as ImageNet's are")
    precision: Literal["fp32", "bf16"]

    @model_validator(mode="after")
    def _weights_have_a_hash(self) -> "ModuleExtractorConfig":
        if (self.weights is None) != (self.weights_sha256 is None):
            raise ValueError("weights and weights_sha256 go together: give both, or null for both")
        return self


# The network whose features FD and IS are measured in; its kind names the figures, as in fd_classifier.
GivenExtractorConfig = InceptionExtractorConfig | ModuleExtractorConfig
ExtractorConfig = Annotated[TrainedExtractorConfig | GivenExtractorConfig, Field(discriminator="kind")]


class WatchConfig(Section):
    """When a loss is no number or explodes: back to the last good state, with a smaller learning rate."""

    max_rollbacks: int = Field(ge=0, le=100, description="once more, and the run ends with an error")
    rollback_rate_factor: float = Field(gt=0.0, le=1.0, description="the learning rate is multiplied with it each time")


class EarlyStopConfig(Section):
    """When a run has converged: evaluations of the averaged weights that bring nothing more."""

    every_images: PositiveInt = Field(description="an evaluation; fewer where they take more than 5% of the time")
    images: int = Field(ge=2, description="drawn in each, and compared with as many training images")
    patience: PositiveInt = Field(description="evaluations in a row without improvement that end the run")
    min_improvement: float = Field(ge=0.0, lt=1.0, description="share of the best distance; less is none")


class TrainingConfig(Section):
    """What the training engine does, whatever the family."""

    total_images: PositiveInt = Field(description="images seen, with repetition")
    max_seconds: float | None = Field(gt=0.0, description="ends the run where it comes first; null: no limit")
    batch_images: PositiveInt
    micro_batch_images: PositiveInt | None = Field(
        description="images at a time in each process, whose gradients add up to the batch's; null: as many as fit"
    )
    learning_rate: LearningRate
    warmup_images: int = Field(ge=0, description="the learning rate rises over these")
    decay_share: Share = Field(description="share of the run, at its end, over which the learning rate falls to 0")
    adam_betas: tuple[Beta, Beta] = Field(strict=False)
    weight_decay: float = Field(ge=0.0)
    ema_halflife_images: PositiveInt = Field(description="images after which half of the averaged weights is new")
    gradient_clip_norm: float | None = Field(gt=0.0, description="null: no clipping")
    precision: Literal["auto", "bf16", "fp32"] = Field(description="auto: bf16 where the processor has it")
    watch: WatchConfig
    early_stop: EarlyStopConfig | None = Field(description="null: the run ends with its budget")
    seed: Seed


class DiffusionNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels of the first level")
    depth: int = Field(ge=1, le=8, description="residual blocks a level")


class DiffusionObjective(Section):
    kind: Literal["edm", "flow"] = Field(description="edm: preconditioned denoiser; flow: flow matching, linear path")
    sigma_data: float = Field(gt=0.0, description="standard deviation of the images in [-1, 1]")
    log_sigma_mean: float
    log_sigma_std: float = Field(gt=0.0)
    label_dropout: Share = Field(description="share of labels hidden in training, for guidance")
    augment: tuple[Literal["flip", "translation", "scale"], ...] = Field(strict=False)
    augment_share: Share = Field(description="probability of each; the network is told, so that it draws none of it")


class DiffusionSampling(Section):
    sampler: Literal["heun", "euler"]
    steps: int = Field(ge=1, le=1000, description="network evaluations are 2 n - 1 with heun, n with euler")
    sigma_min: float = Field(gt=0.0, description="the smallest noise level before 0")
    sigma_max: float = Field(gt=0.0, description="the noise level that drawing starts from")
    guidance_scale: float = Field(ge=0.0, le=20.0, description="1.0: no guidance")

    @model_validator(mode="after")
    def _levels_go_down(self) -> "DiffusionSampling":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min below sigma_max, {self.sigma_max}")
        return self


class DiffusionRecipe(Section):
    """A denoiser for every noise level, by EDM (Karras et al. 2022) or flow matching (Lipman et al. 2023)."""

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
    ada_target: Share | None = Field(
        description="how sure the discriminator may be before it sees more augmented images; null: all are augmented"
    )
    ada_images: PositiveInt = Field(description="over which the share of augmented images may go from 0 to 1")


class GanSampling(Section):
    truncation: float = Field(gt=0.0, le=1.0, description="scale of the latent; smaller: safer, less varied")


class GanRecipe(Section):
    """Relativistic pairing GAN with R1 and R2 (Huang et al. 2025), DiffAugment (Zhao et al. 2020) and ADA."""

    family: Literal["gan"]
    network: GanNetwork
    objective: GanObjective
    training: TrainingConfig


class GanConfig(GanRecipe):
    """The recipe, and how images are drawn."""

    sampling: GanSampling


class VaeNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels of the first level")
    depth: int = Field(ge=1, le=8, description="residual blocks a level")
    latent_dim: int = Field(ge=2, le=4096)
    flow_layers: int = Field(ge=0, le=64, description="of the learned prior; 0: a standard normal one")


class VaeObjective(Section):
    kl_warmup_images: int = Field(ge=0, description="the KL's weight rises from 0 to 1 over these")


class VaeSampling(Section):
    temperature: float = Field(gt=0.0, le=2.0, description="scale of the prior's noise; smaller: safer, less varied")


class VaeRecipe(Section):
    """VAE with a learned output variance (Rybkin et al. 2021) and a flow as its prior."""

    family: Literal["vae"]
    network: VaeNetwork
    objective: VaeObjective
    training: TrainingConfig


class VaeConfig(VaeRecipe):
    """The recipe, and how images are drawn."""

    sampling: VaeSampling


class VqvaeNetwork(Section):
    width: int = Field(ge=8, le=1024, multiple_of=8, description="channels at half the image's resolution")
    depth: int = Field(ge=1, le=8, description="residual blocks a resolution, of the tokenizer")
    stride: Literal[2, 4, 8, 16] = Field(description="pixels a token stands for, along a side")
    levels: tuple[Annotated[int, Field(ge=2, le=64)], ...] = Field(
        strict=False, min_length=1, max_length=8, description="of each quantised channel; their product: the tokens"
    )
    prior_width: int = Field(ge=32, le=4096, multiple_of=32)
    prior_depth: int = Field(ge=1, le=64, description="layers of the transformer")

    @model_validator(mode="after")
    def _tokens_are_few(self) -> "VqvaeNetwork":
        if math.prod(self.levels) > MOST_TOKENS:
            raise ValueError(f"levels with a product of at most {MOST_TOKENS:,}, got {math.prod(self.levels):,}")
        return self


class VqvaeObjective(Section):
    tokenizer_share: float = Field(gt=0.0, lt=1.0, description="share of the run, at its beginning, before the prior")
    prior_rate_factor: float = Field(gt=0.0, le=100.0, description="its learning rate over the tokenizer's")


class VqvaeSampling(Section):
    temperature: float = Field(gt=0.0, le=10.0, description="divides the logits; smaller: safer, less varied")
    top_k: PositiveInt | None = Field(description="only so many of the likeliest tokens may follow; null: all")


class VqvaeRecipe(Section):
    """VQ-VAE by finite scalar quantisation (Mentzer et al. 2023), and a causal transformer over its tokens."""

    family: Literal["vqvae"]
    network: VqvaeNetwork
    objective: VqvaeObjective
    training: TrainingConfig


class VqvaeConfig(VqvaeRecipe):
    """The recipe, and how images are drawn."""

    sampling: VqvaeSampling


# A recipe says how a model's weights come about; a config says besides how its images are drawn.
ModelRecipe = Annotated[DiffusionRecipe | GanRecipe | VaeRecipe | VqvaeRecipe, Field(discriminator="family")]
ModelConfig = Annotated[DiffusionConfig | GanConfig | VaeConfig | VqvaeConfig, Field(discriminator="family")]


class EvaluationConfig(Section):
    """The evaluate stage: generated images against the reference statistics."""

    total_images: int = Field(ge=2, description="generated images, labels in equal shares")
    batch_images: PositiveInt
    seed: Seed = Field(description="image i is drawn from seed + i")
    is_splits: PositiveInt = Field(description="the inception score is the mean over so many parts")
    precision_neighbours: PositiveInt = Field(description="k of precision and recall")
    density_neighbours: PositiveInt = Field(description="k of density and coverage")
    pairwise_images: int = Field(ge=16, description="of each set, at most, for figures that compare all pairs")
    fd_inf_points: int = Field(ge=2, description="counts of images that the line of FID-infinity goes through")
    near_copy_percentile: float = Field(gt=0.0, lt=50.0, description="of real images' distances: nearer is a near copy")
    bootstrap_resamples: int = Field(ge=20, description="resamples for the intervals")
    confidence: float = Field(gt=0.5, lt=1.0, description="of the intervals")

    @model_validator(mode="after")
    def _no_empty_split(self) -> "EvaluationConfig":
        if self.is_splits > self.total_images:
            raise ValueError(f"is_splits: got {self.is_splits}; allowed: at most total_images, {self.total_images}")
        most = max(self.precision_neighbours, self.density_neighbours)
        if most >= self.total_images:
            raise ValueError(f"neighbours: got {most}; allowed: fewer than total_images, {self.total_images}")
        return self


class SelectionConfig(Section):
    metric: str = Field(description="distance by which the best model is chosen: the smaller wins")


class ModelCardConfig(Section):
    """What the candidate's card says besides what is known by itself. Changing it trains nothing again."""

    licence: str = Field(min_length=1, max_length=200, description="of the weights, such as CC-BY-4.0, or a link to it")
    intended_use: str = Field(
        min_length=1, max_length=2000, description="what the model is for, and what it is not for"
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
    devices: int = Field(ge=1, le=1024, description="GPUs, or processes on a processor, that train one model together")
    num_nodes: int = Field(ge=1, le=1024, description="machines, with so many devices each")
    compile_on_gpu: bool = Field(description="torch.compile for the network that draws; no effect on a processor")
    follow: tuple[Literal["tensorboard", "wandb", "dvclive"], ...] = Field(strict=False)


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
    max_memorised_share: Share = Field(description="near copies of training images among those that it draws")
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
    model_card: ModelCardConfig
    generate: GenerateConfig
    report: ReportConfig
    compute: ComputeConfig
    retrain: RetrainConfig
    gate: GateConfig

    @model_validator(mode="after")
    def _selection_metric_is_measured(self) -> "Config":
        kind = self.extractor.kind
        measured = [f"fd_{kind}", f"fd_{kind}_test", f"fd_inf_{kind}", f"kid_{kind}", f"kid_{kind}_test"]
        if self.selection.metric not in measured:
            raise ValueError(
                f"selection.metric: got {self.selection.metric!r}; allowed: {', '.join(measured)}, "
                f"as extractor.kind is {kind}"
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
    if location[:1] == ["extractor"] and len(location) > 1 and kind != "union_tag_invalid":
        location = location[:1] + location[2:]
    key = ".".join(part for part in location if part != "[key]")
    if kind == "missing":
        return f"{file}: {key}: missing; every key must be written out"
    if kind == "extra_forbidden":
        return f"{file}: {key}: unknown key; see genai_core/config.py for the keys there are"
    if kind == "union_tag_invalid":
        return f"{file}: {key}.{_tag(context)}: got {context['tag']!r}; allowed: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{file}: {key}.{_tag(context)}: missing; it names the {_tag(context)}"
    if kind == "string_pattern_mismatch" and location[:1] == ["models"]:
        return f"{file}: {key}: not a usable name; allowed: small letters, digits, _ and -, a letter first, 32 at most"
    value = item["input"]
    if isinstance(value, float) and not math.isfinite(value):
        return f"{file}: {key}: got {value}; allowed: a finite number"
    allowed = re.sub(r"^(Input should be |Value error, )", "", item["msg"])
    if kind == "value_error" and isinstance(value, dict):
        # A rule over a whole section: its values would bury what is wrong.
        return f"{file}: {key}{': ' if key else ''}{allowed}"
    return f"{file}: {key}: got {value!r}; allowed: {allowed}"


def _tag(context: Any) -> str:
    """The key that chooses the branch of a union; pydantic quotes it."""
    return str(context["discriminator"]).strip("'")

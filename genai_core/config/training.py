"""Settings of the training engine, for any family: `training:` of each model."""

from typing import Literal

from pydantic import Field

from genai_core.config.section import Beta, LearningRate, PositiveInt, Section, Seed, Share


class LossWatchConfig(Section):
    """When a loss is not a number or explodes: roll back to the last good state, with a smaller learning rate."""

    max_rollbacks: int = Field(ge=0, le=100, description="after this many, the next fault ends the run with an error")
    rollback_rate_factor: float = Field(gt=0.0, le=1.0, description="factor of the learning rate per rollback")


class EarlyStopConfig(Section):
    """Early stopping when evaluations of the averaged weights no longer improve."""

    every_images: PositiveInt = Field(description="interval of evaluations; longer if they take over 5% of the time")
    images: int = Field(ge=2, description="generated per evaluation, and compared with as many training images")
    patience: PositiveInt = Field(description="evaluations in a row without improvement that end the run")
    min_improvement: float = Field(ge=0.0, lt=1.0, description="share of the best distance that counts as improvement")


class TrainingConfig(Section):
    """Settings of the training engine, for any family."""

    total_images: PositiveInt = Field(description="images seen, with repetition")
    max_seconds: float | None = Field(gt=0.0, description="ends the run if reached before total_images; null: no limit")
    batch_images: PositiveInt
    micro_batch_images: PositiveInt | None = Field(
        description="images per pass in each process; gradients add up to the batch's; null: as many as fit"
    )
    learning_rate: LearningRate
    warmup_images: int = Field(ge=0, description="images over which the learning rate rises")
    decay_share: Share = Field(description="final share of the run in which the learning rate falls to 0")
    muon: bool = Field(description="train the weight matrices of inner layers by Muon, all others by AdamW")
    adam_betas: tuple[Beta, Beta] = Field(strict=False)
    weight_decay: float = Field(ge=0.0)
    ema_halflife_images: PositiveInt = Field(
        description="half of the saved average comes from this many last images of the run (docs/training.md)"
    )
    gradient_clip_norm: float | None = Field(gt=0.0, description="null: no clipping")
    precision: Literal["auto", "bf16", "fp32"] = Field(description="auto: bf16 if the hardware supports it")
    watch: LossWatchConfig
    early_stop: EarlyStopConfig | None = Field(description="null: the run ends with its budget")
    seed: Seed

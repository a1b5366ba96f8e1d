"""What the training engine does, whatever the family: `training:` of each model."""

from typing import Literal

from pydantic import Field

from genai_core.config.section import Beta, LearningRate, PositiveInt, Section, Seed, Share


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
    ema_halflife_images: PositiveInt = Field(
        description="half of the saved average comes from the run's last so many images (docs/training.md)"
    )
    gradient_clip_norm: float | None = Field(gt=0.0, description="null: no clipping")
    precision: Literal["auto", "bf16", "fp32"] = Field(description="auto: bf16 where the processor has it")
    watch: WatchConfig
    early_stop: EarlyStopConfig | None = Field(description="null: the run ends with its budget")
    seed: Seed

"""How and when a run is done, and what becomes of it: `compute:`, `retrain:`, `gate:`. No stage depends on these."""

from typing import Literal

from pydantic import Field, model_validator

from genai_core.config.section import PositiveInt, Section, Share


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
    """When a retraining is worth it (flows/retraining/policy.py). No stage of dvc.yaml depends on this section."""

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
    """What a candidate must reach to replace production (flows/retraining/gate.py). No stage depends on it."""

    max_accuracy_drop: Share = Field(
        description="of the classifier's test accuracy, since production's data; 1: not asked for"
    )
    against: Literal["test", "train"] = Field(description="the split of the new data that both are measured against")
    max_worse_share: float = Field(gt=0.0, le=1.0, description="end of the difference's interval over the champion's")
    max_memorised_share: Share = Field(description="near copies of training images among those that it draws")
    min_recall_share: Share = Field(description="of the recall that held-out real images have")
    min_class_coverage: Share = Field(description="of each class's real images, that the model covers")
    min_class_share: Share = Field(description="of what the champion covers of a class, or of a group of alike images")
    max_device_hours: float = Field(gt=0.0, description="that one retraining may take")
    approval: Literal["auto", "human"] = Field(description="who has the last word when every rule is met")
    approval_timeout_s: int = Field(ge=1, description="how long a person has to answer; after that it is a no")

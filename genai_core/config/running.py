"""Execution, retraining and promotion: `compute:`, `retrain:`, `gate:`. No stage depends on these."""

from typing import Literal

from pydantic import Field, model_validator

from genai_core.config.section import PositiveInt, Section, Share


class PoolConfig(Section):
    """What one worker of a Prefect work pool offers. A stage runs in a pool that has what its `meta:` needs."""

    cores: int = Field(ge=1, le=1024)
    memory_gb: float = Field(gt=0.0)
    gpus: int = Field(ge=0, le=1024)
    place: str | None = Field(description="label: a stage with `meta: place` runs only where it is the same")


class SlurmConfig(Section):
    """How executor slurm submits the job of a stage; its cores, memory and GPUs are those of the stage's `meta:`."""

    partition: str | None = Field(description="null: the cluster's default")
    account: str | None
    time_limit_minutes: int | None = Field(ge=2, description="of one allocation; null: the partition's own")


class ComputeConfig(Section):
    """How a run is executed, not what it produces: no stage of dvc.yaml depends on this section."""

    executor: Literal["local", "pool", "ray", "dask", "slurm"] = Field(
        description="local: this machine; pool: workers of Prefect work pools; others: machines of such a cluster"
    )
    pools: dict[str, PoolConfig] = Field(description="the work pools of executor pool, by their names at the server")
    slurm: SlurmConfig
    accelerator: Literal["auto", "cpu", "cuda"]
    cpu_threads: int = Field(ge=1, le=1024, description="threads, and thus cores, per stage")
    stages_per_gpu: PositiveInt = Field(description="stages that may share a GPU")
    checkpoint_every_s: float = Field(gt=0.0)
    resident_share: Share = Field(
        description="share of the device's memory; a larger train split is read from disk on demand"
    )
    devices: int = Field(ge=1, le=1024, description="GPUs, or processes on a CPU, that train one model together")
    num_nodes: int = Field(ge=1, le=1024, description="machines, each with this many devices")
    compile_on_gpu: bool = Field(description="torch.compile for the sampled network; no effect on a CPU")
    follow: tuple[Literal["tensorboard", "wandb", "dvclive"], ...] = Field(strict=False)


class RetrainConfig(Section):
    """When to retrain (flows/retraining/policy.py)."""

    finetune_changed_share: float = Field(
        gt=0.0, le=1.0, description="share of added or removed images to fine-tune at"
    )
    train_changed_share: float = Field(gt=0.0, le=1.0, description="share at which to train from scratch")
    finetune_drift_over_floor: float = Field(ge=1.0, description="FD of new to old images, over that among old ones")
    train_drift_over_floor: float = Field(ge=1.0)
    max_age_days: float | None = Field(
        gt=0.0, description="an older production model is fine-tuned; null: no age limit"
    )
    budget_device_hours: float = Field(ge=0.0, description="for all retrainings within budget_days; 0: none")
    budget_days: float = Field(gt=0.0)

    @model_validator(mode="after")
    def _training_needs_a_larger_change(self) -> "RetrainConfig":
        for what in ("changed_share", "drift_over_floor"):
            less, more = getattr(self, f"finetune_{what}"), getattr(self, f"train_{what}")
            if less > more:
                raise ValueError(f"train_{what}: got {more}; allowed: at least finetune_{what}, {less}")
        return self


class GateConfig(Section):
    """Requirements for a candidate to replace production (flows/retraining/gate.py)."""

    max_accuracy_drop: Share = Field(
        description="of the classifier's test accuracy, compared with production's data; 1: not checked"
    )
    against: Literal["test", "train"] = Field(description="split of the new data that both are measured against")
    max_worse_share: float = Field(
        gt=0.0, le=1.0, description="limit for the interval's upper end, relative to the champion's distance"
    )
    max_memorised_share: Share = Field(description="share of generated images that are near copies of training images")
    min_recall_share: Share = Field(description="share of the recall of held-out real images")
    min_class_coverage: Share = Field(description="share of each class's real images that the model covers")
    min_class_share: Share = Field(description="share of the champion's coverage, per class or group of similar images")
    max_device_hours: float = Field(gt=0.0, description="limit of one retraining")
    min_preference: float | None = Field(
        gt=0.0,
        lt=1.0,
        description="for the lower end of the interval of people's preference (blind votes); null: no rule",
    )
    approval: Literal["auto", "human"] = Field(description="who decides when every rule is met")
    approval_timeout_s: int = Field(ge=1, description="how long to wait for a person's answer; none means no")

    @model_validator(mode="after")
    def _people_vote_while_it_waits(self) -> "GateConfig":
        if self.min_preference is not None and self.approval == "auto":
            raise ValueError(
                "min_preference: a new candidate has no votes yet, and people can vote on it only while it waits; set "
                "gate.approval to human, or gate.min_preference to null"
            )
        return self

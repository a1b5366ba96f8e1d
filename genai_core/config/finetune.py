"""`finetune:`: which model to continue, with what, and how."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, Tag, field_validator, model_validator

from genai_core.config.models import DiffusionSampling, FewSteps
from genai_core.config.section import AUTO, AUTO_OR_OWN, AUTO_TAG, OWN_TAG, Auto, PositiveInt, Section, Seed

# Names of weights in a model, with the wildcards * ? [...], such as network.down.*
WeightPattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
IsAuto = Annotated[Auto, Tag(AUTO_TAG)]
RateShare = Annotated[IsAuto | Annotated[float, Field(gt=0.0, le=1.0), Tag(OWN_TAG)], AUTO_OR_OWN]
ClassRate = Annotated[IsAuto | Annotated[float, Field(gt=0.0, le=100.0), Tag(OWN_TAG)], AUTO_OR_OWN]
Teacher = Annotated[IsAuto | Annotated[DiffusionSampling, Tag(OWN_TAG)], AUTO_OR_OWN]


class LoraConfig(Section):
    """Low-rank changes of attention, convolutions and other layers (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = Field(ge=1, le=1024, description="of the change of each layer's weights")
    alpha: float = Field(gt=0.0, le=4096.0, description="the change is scaled by alpha / rank")


class FewStepConfig(Section):
    """Make a model that draws in a few network evaluations from a diffusion model that draws in many, its teacher."""

    steps: FewSteps = Field(description="the most network evaluations an image; it draws with fewer too")
    pairs: PositiveInt = Field(description="images that the teacher draws for it to learn, once, before the training")
    teacher: Teacher = Field(
        description="how the teacher draws them; auto: as it was selected or brought in; or a sampling section"
    )
    worst_ratio: float = Field(
        ge=1.0, description="it is the candidate if selection.metric is at most this many times its teacher's"
    )

    @model_validator(mode="after")
    def _teacher_takes_many_steps(self) -> "FewStepConfig":
        if not isinstance(self.teacher, str) and self.teacher.sampler == "few_step":
            raise ValueError("teacher.sampler: got 'few_step'; allowed: 'heun', 'euler' or 'multistep'")
        return self


class FinetuneConfig(Section):
    """Continue training a model at a small learning rate.

    Other settings are those of the model's own training section.
    """

    start: Literal["selected", "base"] = Field(
        description="which model to continue: the best of this run, or models/base, which `genai base` brought in"
    )
    kind: Literal["full", "lora", "few_step"] = Field(
        description="full: train the weights; lora: train low-rank changes, merged into the saved weights; few_step: "
        "make a model that draws in a few network evaluations"
    )
    images: Literal["all", "new", "replay"] = Field(
        description="of a base: new: only what it was not trained on; replay: new images, with a share of old ones"
    )
    old_classes: Literal["auto", "train", "keep"] = Field(
        description="when classes are new: keep: a copy of a diffusion model's network learns them, and the others are "
        "drawn as before; train: one network learns all; auto: keep if most of what has changed is of new classes"
    )
    replay_share: float = Field(gt=0.0, lt=1.0, description="with replay: share of old images among those seen")
    dataset: Literal["prepared", "augmented"] = Field(description="augmented: with the copies that `augment:` adds")
    total_images: PositiveInt
    batch_images: PositiveInt | None = Field(
        description="images per step; null: as in the model's training from scratch. Fewer: more steps, and slower"
    )
    max_seconds: float | None = Field(gt=0.0, description="ends the run if reached before total_images; null: no limit")
    learning_rate_share: RateShare = Field(
        description="share of the model's own learning rate; auto: by kind, whether classes are new, and the batch"
    )
    first_layer_rate: float = Field(
        gt=0.0, le=1.0, description="learning rate of the first layer over the last one's; geometric in between"
    )
    class_rate: ClassRate = Field(
        description="learning rate of the class embeddings, over that of the last layer; auto: more if classes are new"
    )
    optimizer: Literal["fresh", "restored"] = Field(
        description="restored: begin with the state of the optimizer that trained the model, if it was here"
    )
    frozen: tuple[WeightPattern, ...] = Field(strict=False, description="patterns of weights that stay as they are")
    lora: LoraConfig
    few_step: FewStepConfig
    warmup_images: int = Field(ge=0)
    ema_halflife_images: PositiveInt = Field(description="after this many images, half of the loaded average remains")
    seed: Seed

    @field_validator("start", mode="before")
    @classmethod
    def _names_are_brought_in(cls, value: Any) -> Any:
        if isinstance(value, str) and value and value not in ("selected", "base"):
            name = "prod" if value == "champion" else value  # what it was called before
            raise ValueError(f"selected, base. To continue another model, run: genai base {name}")
        return value

    @model_validator(mode="after")
    def _an_optimizer_knows_its_own_weights(self) -> "FinetuneConfig":
        if self.optimizer == "restored" and self.kind != "full":
            raise ValueError(f"optimizer: got restored; allowed: fresh with kind {self.kind}, which trains new weights")
        return self

    @model_validator(mode="after")
    def _a_step_is_within_the_budget(self) -> "FinetuneConfig":
        if self.batch_images is not None and self.batch_images > self.total_images:
            raise ValueError(
                f"batch_images: got {self.batch_images}; allowed: at most total_images, which is {self.total_images}"
            )
        return self

    @model_validator(mode="after")
    def _few_steps_learn_from_the_teacher(self) -> "FinetuneConfig":
        if self.kind != "few_step":
            return self
        only = "with kind few_step, which learns from its teacher's images alone"
        if self.images != "all" and self.start == "base":
            raise ValueError(f"images: got {self.images}; allowed: all {only}")
        if self.frozen or self.first_layer_rate != 1.0 or self.class_rate not in (AUTO, 1.0):
            raise ValueError(f"frozen, first_layer_rate, class_rate: allowed: [], 1.0 and auto or 1.0 {only}")
        return self

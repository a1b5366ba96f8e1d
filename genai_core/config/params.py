"""All sections together, and the rules across them."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from genai_core.config.data import AugmentConfig, DataConfig
from genai_core.config.extractor import ExtractorConfig
from genai_core.config.finetune import FinetuneConfig
from genai_core.config.models import STRIDES, ModelConfig
from genai_core.config.running import ComputeConfig, GateConfig, RetrainConfig
from genai_core.config.search import SearchConfig
from genai_core.config.section import PARAMS_FILE, ConfigError, Section
from genai_core.config.serving import ServeConfig
from genai_core.config.stages import (
    LEAST_EXTRAPOLATED,
    EvaluationConfig,
    GenerateConfig,
    ModelCardConfig,
    ReportConfig,
    RobustnessConfig,
    SelectionConfig,
)
from genai_core.config.watching import NotifyConfig, WatchConfig

# Model names become part of a shell command (dvc.yaml: cmd), of paths and of stage names.
MODEL_NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"

ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME_PATTERN)]


class Config(Section):
    """The whole of params.yaml."""

    data: DataConfig
    augment: AugmentConfig
    extractor: ExtractorConfig
    models: dict[ModelName, ModelConfig] = Field(min_length=1)
    evaluation: EvaluationConfig
    robustness: RobustnessConfig
    selection: SelectionConfig
    finetune: FinetuneConfig
    model_card: ModelCardConfig
    generate: GenerateConfig
    report: ReportConfig
    compute: ComputeConfig
    retrain: RetrainConfig
    gate: GateConfig
    watch: WatchConfig
    notify: NotifyConfig
    serve: ServeConfig
    search: SearchConfig

    @model_validator(mode="after")
    def _strides_divide_the_image(self) -> "Config":
        size = self.data.image_size
        for name, model in self.models.items():
            if model.family == "vqvae" and any(side % model.network.stride for side in size):
                fitting = [stride for stride in STRIDES if not any(side % stride for side in size)]
                raise ValueError(
                    f"models.{name}.network.stride: got {model.network.stride}; allowed: "
                    f"{', '.join(map(str, fitting))}, which divide data.image_size, {size}"
                )
        return self

    @model_validator(mode="after")
    def _steps_are_within_the_budget(self) -> "Config":
        # Not a rule of the training section: a fine-tuned model's own has a budget that its batch may exceed.
        for name, model in self.models.items():
            batch, total = model.training.batch_images, model.training.total_images
            if batch > total:
                raise ValueError(
                    f"models.{name}.training.batch_images: got {batch}; allowed: at most total_images, which is {total}"
                )
        return self

    @model_validator(mode="after")
    def _selection_metric_is_measured(self) -> "Config":
        kind = self.extractor.kind
        if self.selection.metric.startswith("fd_inf_") and self.evaluation.total_images < LEAST_EXTRAPOLATED:
            raise ValueError(
                f"selection.metric: {self.selection.metric} needs at least {LEAST_EXTRAPOLATED} "
                f"evaluation.total_images, got {self.evaluation.total_images}"
            )
        measured = [f"fd_{kind}", f"fd_{kind}_test", f"fd_inf_{kind}", f"kid_{kind}", f"kid_{kind}_test"]
        if self.selection.metric not in measured:
            raise ValueError(
                f"selection.metric: got {self.selection.metric!r}; allowed: {', '.join(measured)}, "
                f"because extractor.kind is {kind}"
            )
        return self

    def model(self, name: str) -> ModelConfig:
        """Return the model with that name. Raises ConfigError that lists the available names."""
        if name not in self.models:
            known = ", ".join(self.models)
            raise ConfigError(f"{PARAMS_FILE}: models.{name}: no such model; available: {known}")
        return self.models[name]

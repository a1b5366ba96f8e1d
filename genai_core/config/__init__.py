"""params.yaml as frozen types: the only reader of YAML. Does not import torch, so that flows can use it.

No field has a default. Every setting is written in params.yaml, where DVC compares it. A default in the code would
change what a stage makes without a change that DVC sees.
"""

from genai_core.config.data import AugmentConfig, CropConfig, DataConfig, FlipConfig, MoveConfig
from genai_core.config.extractor import (
    ExtractorConfig,
    InceptionExtractorConfig,
    ModuleExtractorConfig,
    TrainedExtractorConfig,
    extractor_kind,
    resolved_metric,
)
from genai_core.config.finetune import FewStepConfig, FinetuneConfig, LoraConfig
from genai_core.config.load import described, doubled_key, fault_at, load_config, yaml_fault
from genai_core.config.models import (
    ClassGroups,
    DiffusionRecipe,
    DiffusionSampling,
    DistilledRecipe,
    FewStep,
    GanRecipe,
    GanSampling,
    GroupedDistilledRecipe,
    GroupedRecipe,
    ModelConfig,
    ModelRecipe,
    SamplingConfig,
    VaeRecipe,
    VaeSampling,
    VqvaeRecipe,
    VqvaeSampling,
)
from genai_core.config.params import Config
from genai_core.config.running import ComputeConfig, GateConfig, PoolConfig, RetrainConfig, SlurmConfig
from genai_core.config.search import PruningConfig, RangeConfig, SearchConfig
from genai_core.config.section import AUTO, MACHINE_FAULT, NEEDS_MANUAL_ACTION, PARAMS_FILE, ConfigError
from genai_core.config.serving import ServeConfig
from genai_core.config.stages import EvaluationConfig, ModelCardConfig, RobustnessConfig
from genai_core.config.training import EarlyStopConfig, TrainingConfig
from genai_core.config.watching import FROM_ENVIRONMENT, EmailConfig, EventKind, NotifyConfig, WatchConfig

__all__ = [
    "AUTO",
    "FROM_ENVIRONMENT",
    "MACHINE_FAULT",
    "NEEDS_MANUAL_ACTION",
    "PARAMS_FILE",
    "AugmentConfig",
    "ClassGroups",
    "ComputeConfig",
    "Config",
    "ConfigError",
    "CropConfig",
    "DataConfig",
    "DiffusionRecipe",
    "DiffusionSampling",
    "DistilledRecipe",
    "EarlyStopConfig",
    "EmailConfig",
    "EvaluationConfig",
    "EventKind",
    "ExtractorConfig",
    "FewStep",
    "FewStepConfig",
    "FinetuneConfig",
    "FlipConfig",
    "GanRecipe",
    "GanSampling",
    "GateConfig",
    "GroupedDistilledRecipe",
    "GroupedRecipe",
    "InceptionExtractorConfig",
    "LoraConfig",
    "ModelCardConfig",
    "ModelConfig",
    "ModelRecipe",
    "ModuleExtractorConfig",
    "MoveConfig",
    "NotifyConfig",
    "PoolConfig",
    "PruningConfig",
    "RangeConfig",
    "RetrainConfig",
    "RobustnessConfig",
    "SamplingConfig",
    "SearchConfig",
    "ServeConfig",
    "SlurmConfig",
    "TrainedExtractorConfig",
    "TrainingConfig",
    "VaeRecipe",
    "VaeSampling",
    "VqvaeRecipe",
    "VqvaeSampling",
    "WatchConfig",
    "described",
    "doubled_key",
    "extractor_kind",
    "fault_at",
    "load_config",
    "resolved_metric",
    "yaml_fault",
]

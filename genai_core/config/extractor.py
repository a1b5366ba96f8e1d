"""The network whose features the figures are measured in: `extractor:`."""

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from genai_core.config.section import LearningRate, PositiveInt, Section, Seed, Sha256


class TrainedExtractorConfig(Section):
    """A small network trained on this dataset: for images unlike photographs."""

    kind: Literal["auto", "classifier", "self_supervised"] = Field(
        description="self_supervised needs no labels; auto: classifier if the images have two or more classes"
    )
    width: int = Field(ge=8, le=512)
    feature_dim: int = Field(ge=8, le=4096)
    total_images: PositiveInt = Field(description="training images seen, with repetition")
    batch_images: PositiveInt
    learning_rate: LearningRate
    decorrelation: float = Field(ge=0.0, le=10.0, description="weight of the features' covariances in the loss")
    seed: Seed


class InceptionExtractorConfig(Section):
    """The network of the published FID: Inception v3 of December 2015, from torch-fidelity."""

    kind: Literal["inception"]
    weights: str | None = Field(description="torch-fidelity's weights file; null: download it")
    weights_sha256: Sha256 = Field(description="of that file; torch-fidelity's starts with 6726825d")
    precision: Literal["fp32", "bf16"] = Field(description="fp32 for figures to be reported")


class ModuleExtractorConfig(Section):
    """Any torch.nn.Module returned by a function in torchvision or in the user's code. The code runs unrestricted."""

    kind: Literal["module"]
    factory: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] = Field(
        description="package.module:function that returns the network"
    )
    arguments: dict[str, str | int | float | bool | None] = Field(description="keyword arguments of the function")
    layer: str | None = Field(description="submodule whose output is the features; null: the network's output")
    weights: str | None = Field(description="safetensors, or a .pth of plain tensors; null: as the function returns it")
    weights_sha256: Sha256 | None = Field(description="of that file")
    resize_px: int | None = Field(
        ge=8, le=1024, description="images are stretched to a square of this side; null: not resized"
    )
    scaling: Literal["uint8", "imagenet"] = Field(
        description="uint8 pixels, or 0..1 normalised with ImageNet's moments"
    )
    precision: Literal["fp32", "bf16"]

    @model_validator(mode="after")
    def _weights_have_a_hash(self) -> "ModuleExtractorConfig":
        if (self.weights is None) != (self.weights_sha256 is None):
            raise ValueError("weights and weights_sha256 go together: set both, or null for both")
        return self


# The network whose features FD and IS are measured in; its kind is part of the figures' names, as in fd_classifier.
GivenExtractorConfig = InceptionExtractorConfig | ModuleExtractorConfig
ExtractorConfig = Annotated[TrainedExtractorConfig | GivenExtractorConfig, Field(discriminator="kind")]

AUTO = "auto"


def extractor_kind(kind: str, classes: int) -> str:
    """Return the kind of extractor that `extractor.kind` means for a dataset with this number of classes."""
    if kind != AUTO:
        return kind
    return "classifier" if classes >= 2 else "self_supervised"


def resolved_metric(metric: str, kind: str) -> str:
    """Return `selection.metric` for an extractor of this kind: fd_auto is fd_classifier where a classifier measures."""
    return re.sub(rf"_{AUTO}(?=_|$)", f"_{kind}", metric)

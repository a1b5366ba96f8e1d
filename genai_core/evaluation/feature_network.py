"""What every network is whose features the figures are measured in."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ExtractorDescription:
    """What config.json says: how the extractor was made, and how far it can be trusted."""

    kind: str  # "classifier", "self_supervised", "inception" or "module"
    feature_dim: int
    outputs: int  # logits; 0 when there are none
    image_size: int | None  # pixels a side; None: any
    channels: int | None  # None: 1 or 3
    sha256: str  # of model.safetensors
    resize: str  # how images come to the network's size
    precision: str = "fp32"
    # Of a network that was trained on the dataset:
    width: int | None = None
    classes: tuple[str, ...] = ()  # of the dataset; empty when it has none
    mean: tuple[float, ...] = ()  # of pixels in 0..1, by channel
    std: tuple[float, ...] = ()
    test_accuracy: float | None = None  # on the test split; of the pretext task when self-supervised
    dataset: str = ""  # fingerprint of the dataset that it was trained on
    # Of a network that was given:
    source_sha256: str = ""  # of the weights' file
    settings: dict[str, Any] = field(default_factory=dict)  # of kind "module": factory, arguments, layer ...

    @property
    def scores_classes(self) -> bool:
        """Whether its logits are of classes, so that they have an inception score."""
        return self.outputs > 0 and self.kind != "self_supervised"


@dataclass(frozen=True)
class ExtractorOutput:
    """features (N, D) and logits (N, K), float32; `embedding` (N, D) is what the logits are computed from."""

    features: Tensor
    logits: Tensor
    embedding: Tensor


class FeatureNetwork(nn.Module):
    """Maps images (N, C, H, W) uint8 to an ExtractorOutput. `channels` and `image_size` None: any."""

    channels: int | None
    image_size: int | None
    precision: str = "fp32"

    @property
    def device(self) -> torch.device:
        """Where it runs, and images have to be."""
        return next(self.parameters()).device

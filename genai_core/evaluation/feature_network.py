"""Common interface of the networks whose features the figures are measured in."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from genai_core.image_size import ImageSize


@dataclass(frozen=True)
class ExtractorDescription:
    """Contents of config.json: how the extractor was made, and how reliable it is."""

    kind: str  # "classifier", "self_supervised", "inception" or "module"
    feature_dim: int
    outputs: int  # number of logits; 0 without logits
    image_size: ImageSize | None  # None: any
    channels: int | None  # None: 1 or 3
    sha256: str  # of model.safetensors
    resize: str  # how images are resized for the network
    precision: str = "fp32"
    # For a network trained on the dataset:
    width: int | None = None
    classes: tuple[str, ...] = ()  # of the dataset; empty when it has none
    mean: tuple[float, ...] = ()  # of pixels in 0..1, by channel
    std: tuple[float, ...] = ()
    test_accuracy: float | None = None  # on the test split; of the pretext task when self-supervised
    dataset: str = ""  # fingerprint of the dataset it was trained on
    # For a network from a file:
    source_sha256: str = ""  # of the weights' file
    settings: dict[str, Any] = field(default_factory=dict)  # of kind "module": factory, arguments, layer ...

    def to_json(self) -> dict[str, Any]:
        """Return the contents of config.json, without its format."""
        size = self.image_size
        return {**asdict(self), "image_size": None if size is None else size.to_json()}

    @property
    def scores_classes(self) -> bool:
        """Whether its logits are class scores, so that an inception score can be computed."""
        return self.outputs > 0 and self.kind != "self_supervised"


@dataclass(frozen=True)
class ExtractorOutput:
    """features (N, D) and logits (N, K), float32; embedding (N, D): input of the logits' layer."""

    features: Tensor
    logits: Tensor
    embedding: Tensor


class FeatureNetwork(nn.Module):
    """Maps images (N, C, H, W) uint8 to an ExtractorOutput. `channels` or `image_size` None: any.

    float_size: of images (N, C, H, W) float32 in 0..255 that it takes too, and does not resize; None: none.
    """

    channels: int | None
    image_size: ImageSize | None
    precision: str = "fp32"
    float_size: ImageSize | None = None

    @property
    def device(self) -> torch.device:
        """Device of the network, where the images must be too."""
        return next(self.parameters()).device

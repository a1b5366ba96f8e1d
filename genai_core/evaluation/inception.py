"""The network of the published FID: TensorFlow's Inception v3 of December 2015, from torch-fidelity.

Images of any size and aspect ratio are stretched to 299 x 299 on TensorFlow 1's grid, bilinear, without antialiasing,
as for every published figure. torchmetrics resizes with antialiasing by default, which gives other features.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from genai_core.config import InceptionExtractorConfig
from genai_core.evaluation.feature_network import ExtractorDescription, ExtractorOutput, FeatureNetwork
from genai_core.evaluation.given_weights import load_weights, read_weights
from genai_core.image_size import ImageSize

FEATURE_DIM, OUTPUTS = 2048, 1008
RESIZE = "bilinear to 299 x 299 on TensorFlow 1's grid, no antialias"


class InceptionNetwork(FeatureNetwork):
    """Features (N, 2048) of the last pooling, logits (N, 1008) without the last layer's bias, as published.

    precision "bf16": convolutions only; the resize stays float32, because bfloat16 cannot represent 256 grey levels.
    """

    channels, image_size = None, None
    float_size = ImageSize.square(FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE)

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.precision = precision
        self.network = _Unloaded(["2048", "logits_unbiased"])

    def forward(self, images: Tensor) -> ExtractorOutput:
        """images: (N, C, H, W) uint8, C 1 or 3; grey images are repeated in all three channels.

        Or float32 in 0..255, with H = W = 299, which are not resized: resized images, not rounded to 8 bits.
        """
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            features, logits = self._without_resize(images) if images.is_floating_point() else self.network(images)
        features, logits = features.float(), logits.float()
        return ExtractorOutput(features, logits, features)

    def _without_resize(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give these images to the first layer. The library's own resize takes uint8 only, and gets a placeholder."""
        pixels = (images - 128) / 128  # as the library scales them
        hook = self.network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _layer, _inputs: (pixels,))
        try:
            features, logits = self.network(images.new_zeros((1, 3, 1, 1), dtype=torch.uint8))
        finally:
            hook.remove()
        return features, logits


class _Unloaded(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """The architecture without weights. The library's constructor loads pickles unsafely, so it gets an empty file."""

    _built = False

    def __init__(self, features: list[str]) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        super().__init__("inception", features, feature_extractor_weights_path=nothing)
        self._built = True

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Ignore the call from the constructor; afterwards load as any module does."""
        return super().load_state_dict(state_dict, strict, assign) if self._built else None


def given_inception(config: InceptionExtractorConfig) -> tuple[InceptionNetwork, ExtractorDescription]:
    """Return the network with the configured weights, verified by their hash, in float32 or bf16.

    weights null: torch-fidelity's download, kept in torch's hub folder. Raises FileNotFoundError or ValueError.
    """
    path = Path(config.weights) if config.weights is not None else _downloaded(config.weights_sha256)
    weights = read_weights(path, config.weights_sha256, "extractor.weights")
    network = InceptionNetwork(config.precision)
    load_weights(network.network, weights, f"{path}: not the weights of torch-fidelity's Inception v3")
    description = ExtractorDescription(
        kind="inception",
        feature_dim=FEATURE_DIM,
        outputs=OUTPUTS,
        image_size=None,
        channels=None,
        sha256="",
        resize=RESIZE,
        precision=config.precision,
        source_sha256=weights.sha256,
    )
    return network.eval().requires_grad_(False), description


def _downloaded(sha256: str) -> Path:
    path: Path = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rpartition("/")[2]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=sha256, progress=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"extractor.weights is null, and {URL_INCEPTION_V3} could not be downloaded ({error}); download it "
                f"elsewhere and set extractor.weights to the file, or put it at {path}"
            ) from None
    return path

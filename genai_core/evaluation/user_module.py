"""Any network as an extractor: the result of a function in torchvision or in the user's code.

The protocol: `package.module:function`, called with the configured arguments, returns a torch.nn.Module. The module
receives (N, 3, H, W), uint8 or normalised float32 as configured, and returns features (N, D). With `layer`, that
submodule's flattened output is the features, and the module's own output (N, K) is the logits.

The function's code runs with the rights of whoever runs the stage, as any code of the project. Name only code that you
trust. The weights file is read as plain tensors. The config.json of a saved network is data, which may come from
another revision or from a remote: it never decides what is called.
"""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genai_core.config import ExtractorConfig, ModuleExtractorConfig
from genai_core.evaluation.feature_network import ExtractorDescription, ExtractorOutput, FeatureNetwork
from genai_core.evaluation.given_weights import load_weights, read_weights
from genai_core.image_size import ImageSize

# Statistics of ImageNet's training images, as torchvision's models expect them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOST_SHOWN = 300  # characters


class UserNetwork(FeatureNetwork):
    """The module, with the preprocessing of its images and the extraction of its features."""

    channels, image_size = None, None

    def __init__(self, network: nn.Module, layer: str | None, resize_px: int | None, scaling: str, precision: str):
        super().__init__()
        self.network, self.resize_px, self.scaling, self.precision = network, resize_px, scaling, precision
        self._seen: list[Tensor] = []
        self._has_layer = layer is not None
        if layer is not None:
            network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, out: self._seen.append(out))

    def forward(self, images: Tensor) -> ExtractorOutput:
        """images: (N, C, H, W) uint8, C 1 or 3."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        prepared = self._prepared(images)
        self._seen.clear()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            try:
                output = self.network(prepared)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # the user's code can raise anything
                raise ValueError(
                    f"extractor.factory: {type(error).__name__}: {error}; the network got images of "
                    f"{ImageSize(*prepared.shape[2:])} pixels; set extractor.resize_px to a size that it takes"
                ) from error
        raw = self._seen[-1] if self._has_layer else output
        if not isinstance(raw, Tensor) or raw.ndim < 2 or len(raw) != len(images):
            shape = tuple(raw.shape) if isinstance(raw, Tensor) else type(raw).__name__
            raise ValueError(f"extractor.factory: expected features (N, D) for {len(images)} images, got {shape}")
        features = raw.flatten(1).float()
        is_logits = self._has_layer and isinstance(output, Tensor) and output.ndim == 2
        logits = output.float() if is_logits else features.new_zeros((len(features), 0))
        self._seen.clear()
        return ExtractorOutput(features, logits, features)

    def _prepared(self, images: Tensor) -> Tensor:
        if self.resize_px is None and self.scaling == "uint8":
            return images
        pixels = images.float()
        if self.resize_px is not None and pixels.shape[2:] != (self.resize_px, self.resize_px):
            size = (self.resize_px, self.resize_px)
            pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        if self.scaling == "uint8":
            return pixels.round().clamp(0, 255).to(torch.uint8)
        mean = pixels.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
        return (pixels / 255 - mean) / pixels.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)


def given_module(config: ModuleExtractorConfig, image_size: ImageSize) -> tuple[UserNetwork, ExtractorDescription]:
    """Build the configured network with its weights, and try it on images of the dataset's size.

    Raises FileNotFoundError or ValueError naming the faulty key.
    """
    settings = _settings(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # makes a network without a weights file reproducible
        network = _build(config, config.precision)
    source = ""
    if config.weights is not None and config.weights_sha256 is not None:
        weights = read_weights(Path(config.weights), config.weights_sha256, "extractor.weights")
        load_weights(network.network, weights, f"extractor.weights: not the weights of {config.factory}")
        source = weights.sha256
    network.eval().requires_grad_(False)
    output = network(torch.zeros((2, 3, *image_size), dtype=torch.uint8))
    description = ExtractorDescription(
        kind="module",
        feature_dim=output.features.shape[1],
        outputs=output.logits.shape[1],
        image_size=None,
        channels=None,
        sha256="",
        resize="none" if config.resize_px is None else f"bilinear with antialias to {config.resize_px} pixels a side",
        precision=config.precision,
        source_sha256=source,
        settings=settings,
    )
    return network, description


def named_network(description: ExtractorDescription, config: ExtractorConfig | None, where: str) -> UserNetwork:
    """Rebuild the network of a saved description, with fresh weights, if `config` names exactly the same.

    where: file of the description, for errors. Raises ValueError, before importing anything, when `config`, which is
    the checkout's own, names another function, other arguments, or none.
    """
    if config is None:
        raise ValueError(
            f"{where}: made by a call of {_shown(description.settings)}, and nothing was called; pass the config that "
            "names that function if you trust it"
        )
    if not isinstance(config, ModuleExtractorConfig):
        own = f"extractor.kind {config.kind}"
    elif description.settings.get("factory") != config.factory:
        own = f"extractor.factory {config.factory}"
    elif description.settings != _settings(config):
        own = f"{config.factory} with {_settings(config)}"
    else:
        return _build(config, description.precision)
    raise ValueError(
        f"{where}: made by a call of {_shown(description.settings)}; params.yaml has {own}, so nothing was called; run "
        "the stage extractor again, or name that function in params.yaml if you trust it"
    )


def _settings(config: ModuleExtractorConfig) -> dict[str, Any]:
    return config.model_dump(include={"factory", "arguments", "layer", "resize_px", "scaling"})


def _shown(settings: dict[str, Any]) -> str:
    """Format unchecked data for a message: no control characters, limited length."""
    text = f"{settings.get('factory')!r} with {settings!r}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _build(config: ModuleExtractorConfig, precision: str) -> UserNetwork:
    """Call the factory and attach hooks to its network. Raises ValueError when it cannot be called."""
    module, _, name = config.factory.partition(":")
    try:
        network = getattr(importlib.import_module(module), name)(**config.arguments)
    except Exception as error:  # the user's code can raise anything
        raise ValueError(f"extractor.factory: {config.factory}: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"extractor.factory: {config.factory}: expected a torch.nn.Module, got {type(network).__name__}"
        )
    if not any(True for _ in network.parameters()):
        raise ValueError(f"extractor.factory: {config.factory}: the network has no parameters")
    try:
        return UserNetwork(network, config.layer, config.resize_px, config.scaling, precision)
    except AttributeError as error:
        raise ValueError(f"extractor.layer: {config.factory} has no such layer ({error})") from None

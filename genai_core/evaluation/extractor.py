"""The networks whose features the figures are measured in, and their form on disk.

Photographs have Inception's features (kind "inception", inception.py). Digits, X-rays or pixel art have not: a small
residual network that learned this dataset's own classes (kind "classifier") or, without labels, by how much a picture
was turned (kind "self_supervised"), looks at what matters in it. Kind "module" is any network (user_module.py).
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

FORMAT = 2
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
# Half turns and quarter turns, counter-clockwise: the classes of the pretext task.
ROTATIONS = 4


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


class Extractor(FeatureNetwork):
    """A residual CNN with pre-activation (He et al. 2016, arXiv 1603.05027), a standardised embedding, a linear head.

    Each feature has mean 0 and variance 1 over the training images, so a Frechet distance has a scale: feature_dim is
    what the variance of the real images amounts to in all.
    """

    feature_mean: Tensor
    feature_std: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        width: int,
        feature_dim: int,
        outputs: int,
        image_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.image_size, self.channels = image_size, len(mean)
        self.register_buffer("pixel_mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        # Images of one flat colour have no deviation.
        self.register_buffer("pixel_std", torch.tensor(std).clamp(min=1e-3).view(1, -1, 1, 1), persistent=False)
        # Half resolution from the first layer on: for the built-in digits full resolution takes twice the time.
        size, features = image_size // 2, width
        layers: list[nn.Module] = [
            nn.Conv2d(self.channels, width, kernel_size=5, stride=2, padding=2, bias=False),
            ResidualBlock(width, width, stride=1),
        ]
        while size > 4:
            wider = min(2 * features, 4 * width)
            layers.append(ResidualBlock(features, wider, stride=2))
            size, features = (size + 1) // 2, wider
        self.trunk = nn.Sequential(*layers, nn.BatchNorm2d(features), nn.ReLU())
        self.project = nn.Linear(features, feature_dim)
        self.standardise = nn.BatchNorm1d(feature_dim, affine=False)
        self.head = nn.Linear(feature_dim, outputs)
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))

    def forward(self, images: Tensor) -> ExtractorOutput:
        """images: (N, C, H, W) uint8."""
        pixels = (images.float() / 255 - self.pixel_mean) / self.pixel_std
        embedding = self.standardise(self.project(self.trunk(pixels).mean(dim=(2, 3))))
        features = (embedding - self.feature_mean) / self.feature_std
        return ExtractorOutput(features, self.head(functional.gelu(embedding)), embedding)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; `stride` 2 halves the resolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, kernel_size=1, bias=False) if inputs != outputs else nn.Identity()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(functional.relu(self.norm1(x)))
        residual = self.conv2(functional.relu(self.norm2(residual)))
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        added: Tensor = residual + self.shortcut(x)
        return added


def save_extractor(folder: Path, extractor: FeatureNetwork, description: ExtractorDescription) -> ExtractorDescription:
    """Write weights and config.json into `folder`; gives the description with the weights' sha256 filled in."""
    weights = folder / WEIGHTS_FILE
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in extractor.state_dict().items()}, weights)
    described = ExtractorDescription(**{**asdict(description), "sha256": _sha256(weights)})
    (folder / CONFIG_FILE).write_text(json.dumps({"format": FORMAT, **asdict(described)}, indent=2) + "\n")
    return described


def read_description(folder: Path) -> ExtractorDescription:
    """What config.json in `folder` says. Raises FileNotFoundError or ValueError with what to do."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no extractor there; run `genai run extractor`")
    try:
        values = json.loads(path.read_text())
        if values.pop("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        tuples = {name: tuple(values[name]) for name in ("classes", "mean", "std")}
        return ExtractorDescription(**{**values, **tuples})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the config of an extractor ({error}); run the stage extractor again") from None


def load_extractor(folder: Path, device: torch.device | str = "cpu") -> tuple[FeatureNetwork, ExtractorDescription]:
    """The extractor in `folder`, ready to measure. Raises FileNotFoundError or ValueError with what to do."""
    description = read_description(folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise FileNotFoundError(
            f"{folder}: {WEIGHTS_FILE} is missing; run `dvc checkout`, or the stage extractor again"
        )
    if _sha256(weights) != description.sha256:
        raise ValueError(f"{weights}: its content is not what {CONFIG_FILE} names; run the stage extractor again")
    extractor = build_extractor(description)
    try:
        extractor.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{weights}: not the weights of this extractor ({error}); run its stage again") from None
    return extractor.to(device).eval().requires_grad_(False), description


def build_extractor(description: ExtractorDescription) -> FeatureNetwork:
    """A network of that description with fresh weights, drawn from torch's global generator.

    Raises ValueError when the function of a user's module cannot be called.
    """
    if description.kind == "inception":
        from genai_core.evaluation.inception import InceptionNetwork  # half a second that other kinds need not pay

        return InceptionNetwork(description.precision)
    if description.kind == "module":
        from genai_core.evaluation.user_module import build_user_network

        return build_user_network(description.settings, description.precision)
    if description.width is None or description.image_size is None:
        raise ValueError(f"an extractor of kind {description.kind!r} needs a width and an image_size")
    return Extractor(
        width=description.width,
        feature_dim=description.feature_dim,
        outputs=description.outputs,
        image_size=description.image_size,
        mean=description.mean,
        std=description.std,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

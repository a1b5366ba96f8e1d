"""Feature extractors: the networks whose features the figures are measured in, and their format on disk.

Inception's features suit photographs (kind "inception", inception.py). Digits, X-rays or pixel art need others: a small
residual network, trained on this dataset's own classes (kind "classifier") or, without labels, to predict how far an
image was rotated (kind "self_supervised"), sees what matters in it. Kind "module" is any network (user_module.py).
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from genai_core.config import ExtractorConfig
from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.evaluation.trained_network import Extractor
from genai_core.image_size import ImageSize

FORMAT = 2
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


def save_extractor(folder: Path, extractor: FeatureNetwork, description: ExtractorDescription) -> ExtractorDescription:
    """Write weights and config.json into `folder`; return the description with the weights' sha256 filled in."""
    weights = folder / WEIGHTS_FILE
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in extractor.state_dict().items()}, weights)
    described = replace(description, sha256=_sha256(weights))
    (folder / CONFIG_FILE).write_text(json.dumps({"format": FORMAT, **described.to_json()}, indent=2) + "\n")
    return described


def read_description(folder: Path) -> ExtractorDescription:
    """Read config.json in `folder`. Raises FileNotFoundError or ValueError with what to do."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no extractor found; run `genai run extractor`")
    try:
        values = json.loads(path.read_text())
        if values.pop("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        tuples = {name: tuple(values[name]) for name in ("classes", "mean", "std")}
        if not isinstance(values["settings"], dict):
            raise ValueError("expected settings by name")
        size = values["image_size"]
        size = None if size is None else ImageSize.from_json(size)
        return ExtractorDescription(**{**values, **tuples, "image_size": size})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the config of an extractor ({error}); run the stage extractor again") from None


def load_extractor(
    folder: str | Path, config: ExtractorConfig | None = None, device: torch.device | str = "cpu"
) -> tuple[FeatureNetwork, ExtractorDescription]:
    """Load the extractor in `folder`, ready to measure.

    config: only kind "module" needs it. The folder may come from anywhere; it only names the function that made the
    network, and the function is called only if `config`, the checkout's own params.yaml, names the same. Raises
    FileNotFoundError or ValueError with what to do.
    """
    folder = Path(folder)
    description = read_description(folder)
    extractor = _built(description, config, folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise FileNotFoundError(
            f"{folder}: {WEIGHTS_FILE} is missing; run `dvc checkout`, or the stage extractor again"
        )
    if _sha256(weights) != description.sha256:
        raise ValueError(f"{weights}: its sha256 differs from the one in {CONFIG_FILE}; run the stage extractor again")
    try:
        extractor.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{weights}: not the weights of this extractor ({error}); run its stage again") from None
    return extractor.to(device).eval().requires_grad_(False), description


def _built(description: ExtractorDescription, config: ExtractorConfig | None, folder: Path) -> FeatureNetwork:
    if description.kind == "inception":
        from genai_core.evaluation.inception import InceptionNetwork  # the import takes half a second

        return InceptionNetwork(description.precision)
    if description.kind == "module":
        from genai_core.evaluation.user_module import named_network

        return named_network(description, config, f"{folder / CONFIG_FILE}")
    return trained_extractor(description)


def trained_extractor(description: ExtractorDescription) -> Extractor:
    """Return a network with this description and random weights, drawn from torch's global generator.

    Raises ValueError when the description lacks a size.
    """
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

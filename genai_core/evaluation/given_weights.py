"""Weights of an external network: plain tensors from a file with a known hash."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and the sha256 of the file."""

    tensors: dict[str, Tensor]
    sha256: str


def read_weights(path: Path, sha256: str, key: str) -> Weights:
    """Read the tensors of a safetensors file, or of a .pth that contains nothing else, without running any code.

    sha256: of the file, or its first digits. key: setting to name in errors. Raises FileNotFoundError or ValueError.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{key}: no file {path}; set the path of the weights file, relative to this folder")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise ValueError(
            f"{key}: {path} has the sha256 {found}, expected {sha256}: another file, or a damaged one; download it "
            "again, or set this hash if it is the file you want"
        )
    try:
        tensors: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can raise anything
        first = str(error).strip().splitlines()[:1]
        raise ValueError(f"{key}: {path}: cannot be read safely as weights ({' '.join(first)})") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{key}: {path}: expected tensors by name (a state_dict), got {type(tensors).__name__}")
    return Weights(tensors, found)


def load_weights(network: nn.Module, weights: Weights, refused: str) -> None:
    """Load the weights into a network. Raises ValueError: `refused`, and the last line of torch's message."""
    try:
        network.load_state_dict(weights.tensors)
    except RuntimeError as error:  # a user's network may raise without a message
        raise ValueError(f"{refused} ({str(error).strip().rpartition(chr(10))[2].strip()})") from None

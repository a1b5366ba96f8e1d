"""Weights of a network that was made elsewhere: plain tensors from a file whose hash is known."""

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
    """The tensors of a safetensors file, or of a .pth that holds nothing else; no code in it is run.

    sha256: the file's, or its first digits. key: names the setting in errors. Raises FileNotFoundError or ValueError.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{key}: no file {path}; name the weights' file, or the right path from this folder")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise ValueError(
            f"{key}: {path} has the sha256 {found}, expected {sha256}: another file, or a damaged one; fetch it again, "
            "or give this one's hash if it is the one that you want"
        )
    try:
        tensors: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes them raise
        first = str(error).strip().splitlines()[:1]
        raise ValueError(f"{key}: {path}: no weights that can be read safely ({' '.join(first)})") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{key}: {path}: expected tensors by name (a state_dict), got {type(tensors).__name__}")
    return Weights(tensors, found)


def load_weights(network: nn.Module, weights: Weights, refused: str) -> None:
    """Put them into a network. Raises ValueError: `refused`, and the last line of what torch says."""
    try:
        network.load_state_dict(weights.tensors)
    except RuntimeError as error:  # a network of a user's own may say nothing
        raise ValueError(f"{refused} ({str(error).strip().rpartition(chr(10))[2].strip()})") from None

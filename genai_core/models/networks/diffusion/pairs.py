"""What a few-step model learns from: noise, and what its teacher draws from it."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from genai_core.config import SamplingConfig
from genai_core.models.protocol import GenerativeModel
from genai_core.seeds import LARGEST_SEED

_DRAWN_AT_ONCE = 250
_KEPT_EVERY_S = 20.0


@dataclass(frozen=True)
class Pairs:
    """Noise and what the teacher draws from it.

    noise: (N, C, H, W) float32. images: (N, C, H, W) uint8. labels: (N,) int64; None without classes.
    """

    noise: Tensor
    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.noise)

    def to(self, device: torch.device) -> "Pairs":
        labels = None if self.labels is None else self.labels.to(device)
        return Pairs(self.noise.to(device), self.images.to(device), labels)


def draw_pairs(
    teacher: GenerativeModel,
    weights: str,
    sampling: SamplingConfig,
    labels: Tensor | None,
    count: int,
    seed: int,
    cache: Path,
    on_progress: Callable[[int], None],
) -> Pairs:
    """Draw `count` images with the teacher, from seeds that count down from the largest less `seed`.

    labels: (count,) int64; None without classes. People draw from small seeds, so that what they draw is hardly ever
    what the student has learned. weights: sha256 of the teacher's. cache: a folder that keeps what is drawn, for a
    training that is stopped and resumed; it holds the last call's images. Raises SamplingError for options that the
    teacher cannot draw with.
    """
    seeds = LARGEST_SEED - seed - torch.arange(count)
    path = cache / f"{_key(weights, sampling.model_dump(mode='json'), labels, count, seed)}.safetensors"
    drawn, kept_at = _kept(path, teacher.shape.chw), time.monotonic()
    while len(drawn) < count:
        part = slice(len(drawn), len(drawn) + _DRAWN_AT_ONCE)
        images = teacher.sample(None if labels is None else labels[part], seeds[part], sampling)
        drawn = torch.cat([drawn, images.cpu()])
        on_progress(len(drawn))
        if len(drawn) == count or time.monotonic() - kept_at > _KEPT_EVERY_S:
            _keep(path, drawn)
            kept_at = time.monotonic()
    return Pairs(teacher.noise(seeds), drawn, labels)


def _key(weights: str, sampling: dict[str, Any], labels: Tensor | None, count: int, seed: int) -> str:
    text = json.dumps([weights, sampling, None if labels is None else labels.tolist(), count, seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _kept(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """Return the images that an earlier call drew, (M, C, H, W) uint8; none if there are none, or they are damaged."""
    try:
        return load_file(path)["images"]
    except (FileNotFoundError, KeyError, SafetensorError):
        return torch.empty((0, *shape), dtype=torch.uint8)


def _keep(path: Path, images: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".new-{os.getpid()}")
    new.write_bytes(save({"images": images}))
    os.replace(new, path)
    for other in path.parent.glob("*.safetensors"):
        if other != path:
            other.unlink(missing_ok=True)

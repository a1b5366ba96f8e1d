"""Scales that keep a network's input, output and loss at unit variance at each noise level, for both objectives."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Preconditioning:
    """The four scales of Karras et al. 2022, table 1, each (B,)."""

    skip: Tensor
    output: Tensor
    input: Tensor
    noise: Tensor


def preconditioning(sigma: Tensor, sigma_data: float) -> Preconditioning:
    """Scales that give the network's input and target unit variance at each noise level sigma (B,)."""
    variance = sigma**2 + sigma_data**2
    return Preconditioning(
        skip=sigma_data**2 / variance,
        output=sigma * sigma_data / variance.sqrt(),
        input=1 / variance.sqrt(),
        noise=sigma.log() / 4,
    )


def flow_preconditioning(sigma: Tensor, sigma_data: float) -> Preconditioning:
    """Scales with which the network predicts the path's velocity n - x / sigma_data at noise levels sigma (B,).

    With t = sigma / (sigma + sigma_data), the path's image is (x + sigma n) / (sigma + sigma_data), and x / sigma_data
    is that image minus t times the velocity.
    """
    total = sigma + sigma_data
    return Preconditioning(
        skip=sigma_data / total,
        output=-sigma * sigma_data / total,
        input=1 / total,
        noise=(sigma / sigma_data).log() / 4,
    )


def column(values: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, 1, 1), to scale images."""
    return values[:, None, None, None]

"""A learned prior: a class-conditional normalising flow of affine couplings (Dinh et al. 2017, arXiv 1605.08803)."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from genai_core.models.networks.precision import full_precision

_HIDDEN_FACTOR = 4  # hidden units per latent dimension
_MAX_LOG_SCALE = 2.0  # limit of one coupling, so that no layer scales without bound


class Flow(nn.Module):
    """An invertible map between latents and standard normal noise, initialised to a fixed permutation.

    The encoder fills only a part of a plain Gaussian prior, and noise from the rest decodes to unrealistic images
    (Dai and Wipf 2019, arXiv 1903.05789). The flow learns where the latents are (Chen et al. 2017, arXiv 1611.02731).
    """

    def __init__(self, dim: int, layers: int, condition_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Coupling(dim, condition_dim) for _ in range(layers))

    def to_noise(self, latents: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """latents (B, dim) -> noise (B, dim) and the logarithm of the volume change (B,)."""
        # In float32, so that the inverse undoes it without rounding errors.
        with full_precision(latents.device):
            volume = latents.new_zeros(len(latents))
            for layer in self.layers:
                latents, change = layer(latents, condition.float())
                volume = volume + change
            return latents, volume

    def to_latents(self, noise: Tensor, condition: Tensor) -> Tensor:
        """noise (B, dim) -> latents (B, dim), the inverse of to_noise."""
        with full_precision(noise.device):
            for layer in reversed(self.layers):
                noise = cast(Coupling, layer).inverse(noise, condition.float())
            return noise

    def log_density(self, latents: Tensor, condition: Tensor) -> Tensor:
        """Logarithm of the prior's density at latents (B, dim): (B,)."""
        noise, volume = self.to_noise(latents, condition)
        return standard_normal_log_density(noise) + volume


class Coupling(nn.Module):
    """Affine coupling: permute, then scale and shift one half of the dimensions by the other half and the condition."""

    order: Tensor

    def __init__(self, dim: int, condition_dim: int) -> None:
        super().__init__()
        self.kept = dim // 2
        changed, hidden = dim - self.kept, _HIDDEN_FACTOR * dim
        self.register_buffer("order", torch.randperm(dim))
        self.network = nn.Sequential(
            nn.Linear(self.kept + condition_dim, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * changed),
        )
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, dim) -> (B, dim) and the logarithm of the volume change (B,)."""
        x = x[:, self.order]
        kept, changed = x[:, : self.kept], x[:, self.kept :]
        log_scale, shift = self._affine(kept, condition)
        return torch.cat([kept, changed * log_scale.exp() + shift], dim=1), log_scale.sum(dim=1)

    def inverse(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, dim) -> (B, dim)."""
        kept, changed = x[:, : self.kept], x[:, self.kept :]
        log_scale, shift = self._affine(kept, condition)
        x = torch.cat([kept, (changed - shift) * (-log_scale).exp()], dim=1)
        return x[:, self.order.argsort()]

    def _affine(self, kept: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(torch.cat([kept, condition], dim=1)).chunk(2, dim=1)
        return _MAX_LOG_SCALE * torch.tanh(raw / _MAX_LOG_SCALE), shift


def standard_normal_log_density(x: Tensor) -> Tensor:
    """Log density of the standard normal distribution, (B, dim) -> (B,)."""
    return -0.5 * (x.square() + math.log(2 * math.pi)).sum(dim=1)

"""Moving average of a network's weights, measured in images, so that it does not depend on the batch size.

docs/training.md, "Averaged weights", describes the rule.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def ema_decay(batch_images: int, halflife_images: float) -> float:
    """Return the weight of the old average after one batch: 0.5 after `halflife_images`; 0 if that is 0."""
    return 0.5 ** (batch_images / halflife_images) if halflife_images > 0 else 0.0


def ema_decay_from_scratch(batch_images: int, halflife_images: int, *, images_seen: int, share: float) -> float:
    """Return the weight of the old average after one batch of a run that started with random weights.

    Random weights are noise, so a young average must be short. The half-life grows with the run and reaches
    `halflife_images` at its end, so weights count by a power of the time they were learned (Karras et al. 2024, arXiv
    2312.02696). images_seen and share: of the run, before this batch. If the half-life is too long for the run, the
    result is the mean of all weights so far.
    """
    return min(ema_decay(batch_images, halflife_images * share), images_seen / (images_seen + batch_images))


class Ema:
    """Average of the floating point parameters and buffers of `network`, starting with their current values."""

    def __init__(self, network: nn.Module) -> None:
        self._current = _float_tensors(network)
        self._average = {name: tensor.clone() for name, tensor in self._current.items()}

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """average = decay * average + (1 - decay) * current."""
        torch._foreach_lerp_(list(self._average.values()), list(self._current.values()), 1.0 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        return self._average

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self._average.items():
            tensor.copy_(state[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the average's weights in the body, and restore the network's own afterwards."""
        own = {name: tensor.clone() for name, tensor in self._current.items()}
        self.write_to_network()
        try:
            yield
        finally:
            _copy(own, self._current)

    def write_to_network(self) -> None:
        """Replace the network's weights with the average's."""
        _copy(self._average, self._current)


def _float_tensors(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach()
        for name, tensor in network.state_dict(keep_vars=True).items()
        if tensor.is_floating_point()
    }


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    torch._foreach_copy_(list(target.values()), [source[name] for name in target])

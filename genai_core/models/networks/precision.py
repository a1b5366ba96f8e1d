"""Number formats within a network."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Disable autocast in the body, so that operations use the format of their inputs."""
    # The meta device, used for counting operations, has no autocast to disable.
    return torch.autocast(device.type, enabled=False) if device.type != "meta" else nullcontext()

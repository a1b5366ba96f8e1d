"""Number formats within a network."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Within it operations take the format of their inputs, whatever autocast says outside."""
    # The meta device, on which operations are counted, has no autocast that could be switched off.
    return torch.autocast(device.type, enabled=False) if device.type != "meta" else nullcontext()

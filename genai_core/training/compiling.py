"""torch.compile, limited to training steps."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn


@contextmanager
def compiled(network: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Run `network` compiled in the body if `wanted`; its weights keep their names.

    Only for the network that generates images: a GAN's penalties differentiate its discriminator twice, and compiled
    code can be differentiated only once.
    """
    if wanted:
        _set_compiler_determinism()
        network.forward = torch.compile(network.forward)
    try:
        yield
    finally:
        if wanted:
            del network.forward  # delete the instance's attribute, which uncovers the class's method


def _set_compiler_determinism() -> None:
    """Make compiled code as deterministic as eager code: `set_deterministic_debug_mode` affects only the latter."""
    wanted = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted, warn_only=torch.is_deterministic_algorithms_warn_only_enabled())


def uncompiled() -> AbstractContextManager[object]:
    """Disable compilation in the body: compiling another batch size, for a few images, would take a minute."""
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance

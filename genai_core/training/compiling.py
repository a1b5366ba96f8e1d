"""torch.compile, for the steps of a training and for nothing else."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn


@contextmanager
def compiled(network: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Within it `network` runs compiled, if that is wanted; its weights keep their names.

    For the network that draws: the penalties of a GAN differentiate its discriminator twice, and compiled code can be
    differentiated once.
    """
    if wanted:
        _tell_the_compiler()
        network.forward = torch.compile(network.forward)
    try:
        yield
    finally:
        if wanted:
            del network.forward  # the instance's: the class's own is seen again


def _tell_the_compiler() -> None:
    """Compiled code is deterministic where the process is: `set_deterministic_debug_mode` reaches eager code only."""
    wanted = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted, warn_only=torch.is_deterministic_algorithms_warn_only_enabled())


def uncompiled() -> AbstractContextManager[object]:
    """Within it nothing is compiled: another batch size, for a few pictures, would cost a minute of the compiler's."""
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance

"""Lightning's Fabric, without the libraries that it would import only to compare their version.

For a detector of spikes in the loss, which is not used here, `lightning_fabric` imports torchmetrics, and with it
torchvision and SciPy: about 2.5 s of each training's start. What cannot be imported is "not installed" to it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _not_installed(name: str) -> Iterator[None]:
    """As long as nobody has imported it already, importing `name` fails in here."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


with _not_installed("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

__all__ = ["DDPStrategy", "Fabric", "LightningEnvironment", "TorchElasticEnvironment"]

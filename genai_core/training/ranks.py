"""Several processes as one: each takes its part of the same batch, and all know the same sums.

Gradients are summed by hand after the backward pass, not by DistributedDataParallel: a family has several phases over
different parameters, calls its networks as it likes and differentiates twice (gradient penalties), none of which goes
through one wrapped `forward`. One sum over one flat tensor is the same arithmetic; what is given up is that
communication overlaps with the backward pass.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import Parameter

from genai_core.training.fabric import DDPStrategy, Fabric, LightningEnvironment, TorchElasticEnvironment
from genai_core.training.precision import FabricPrecision

# A process that waits longer for the others takes them for dead. Above what pictures and evaluations take, which the
# first process makes while the others wait. Where the system sees a closed connection (gloo), it ends at once.
TIMEOUT = timedelta(minutes=20)


def launch(device: torch.device, precision: FabricPrecision, devices: int, num_nodes: int) -> Fabric:
    """Fabric with its processes started: by itself, or by torchrun, whose settings it finds.

    The processes that it starts run the same command from its beginning, and meet the first one here.
    """
    several = devices * num_nodes > 1
    options: dict[str, Any] = {"strategy": DDPStrategy(timeout=TIMEOUT)} if several else {}
    # Said, not guessed: Fabric would warn wherever there is an `srun`, and take any process in a Slurm, LSF or MPI job
    # for one of the job's tasks, though the stage is one process that starts the others.
    environment = TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()
    fabric = Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=num_nodes,
        precision=precision,
        plugins=[environment],
        **options,
    )
    threads = torch.get_num_threads()
    fabric.launch()
    torch.set_num_threads(threads)  # Fabric deals out all cores, whatever the config says
    return fabric


class Ranks:
    """The processes of a run, seen from one of them. Alone, it costs nothing."""

    def __init__(self, fabric: Fabric) -> None:
        self.count, self.rank = fabric.world_size, fabric.global_rank
        self.is_first = self.rank == 0
        self._device = fabric.device

    def part(self, images: int) -> range:
        """This process's places in a batch, in equal shares but for one image. Raises ValueError when one is empty."""
        if images < self.count:
            raise ValueError(
                f"training.batch_images: expected at least one image a process, {self.count}, got {images}"
            )
        return range(images * self.rank // self.count, images * (self.rank + 1) // self.count)

    def sum(self, values: Tensor) -> Tensor:
        """`values`, summed over the processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[Parameter]) -> None:
        """Every gradient becomes the sum over the processes."""
        if self.count == 1:
            return
        # In the order of memory, and left where they were summed: putting channels_last gradients into the usual order
        # and back would cost more than half of what the sum does. Autograd's gradients have no gaps.
        pairs = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
        sizes = [gradient.numel() for _, gradient in pairs]
        flat = self.sum(torch.cat([gradient.as_strided((gradient.numel(),), (1,)) for _, gradient in pairs]))
        for (parameter, gradient), part in zip(pairs, torch.split(flat, sizes), strict=True):
            parameter.grad = part.as_strided(gradient.shape, gradient.stride(), part.storage_offset())

    def mean_buffers(self, model: nn.Module) -> None:
        """Every floating point buffer, such as a running mean, becomes the mean over the processes."""
        if self.count == 1:
            return
        for buffer in model.buffers():
            if buffer.is_floating_point():
                self.sum(buffer).div_(self.count)

    def from_first(self, *values: float) -> list[float]:
        """The first process's values."""
        return self.sum_numbers(*(value if self.is_first else 0.0 for value in values))

    def sum_numbers(self, *values: float) -> list[float]:
        """The values, each summed over the processes."""
        if self.count == 1:
            return list(values)
        numbers: list[float] = self.sum(torch.tensor(values, dtype=torch.float64, device=self._device)).tolist()
        return numbers

"""Several processes as one: each takes its part of the same batch, and all get the same sums.

Gradients are summed explicitly after the backward pass, not by DistributedDataParallel. A family has several phases
with different parameters, calls its networks in any way and differentiates twice (gradient penalties), so there is no
single `forward` to wrap. One sum over one flat tensor is the same arithmetic, but communication does not overlap with
the backward pass.
"""

import io
import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import Parameter

from genai_core.training.fabric import DDPStrategy, Fabric, LightningEnvironment, TorchElasticEnvironment
from genai_core.training.precision import FabricPrecision

# A process that waits longer considers the others dead. Must exceed the time for evaluations, which the first process
# makes while the others wait. If the system reports a closed connection (gloo), it ends at once.
TIMEOUT = timedelta(minutes=20)
_PIECE_BYTES = 64 * 2**20  # of a state on its way to the others: on a GPU, it has to fit beside the model


def launch(device: torch.device, precision: FabricPrecision, devices: int, num_nodes: int) -> Fabric:
    """Create a Fabric and start its processes, or join those started by torchrun, whose settings it detects.

    The processes that Fabric starts run the same command from its beginning, and meet the first one here. Those of
    other machines do, too: MASTER_ADDR, MASTER_PORT and NODE_RANK say where, and which machine this is.
    Raises ValueError if there should be other machines, and nothing says where they meet.
    """
    several = devices * num_nodes > 1
    if num_nodes > 1 and "MASTER_ADDR" not in os.environ:
        raise ValueError(
            f"compute.num_nodes: got {num_nodes}, but nothing says where the machines meet. `genai run` starts them "
            "with an executor for several machines (docs/machines.md); by hand, use torchrun, or set MASTER_ADDR, "
            "MASTER_PORT and NODE_RANK on each"
        )
    options: dict[str, Any] = {"strategy": DDPStrategy(timeout=TIMEOUT)} if several else {}
    # Set explicitly: Fabric would warn wherever `srun` exists, and in a Slurm, LSF or MPI job it would take any process
    # for one of the job's tasks. Here the stage is one process that starts the others.
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
    torch.set_num_threads(threads)  # Fabric distributes all cores, whatever the config says
    return fabric


class Ranks:
    """The processes of a run, seen from one of them. With a single process, it costs nothing."""

    def __init__(self, fabric: Fabric) -> None:
        self.count, self.rank = fabric.world_size, fabric.global_rank
        self.is_first = self.rank == 0
        self._device = fabric.device

    def part(self, images: int) -> range:
        """Return this process's places in a batch, in shares equal up to one image. Raises ValueError for no images."""
        if images < self.count:
            raise ValueError(
                f"training.batch_images (in a fine-tuning, finetune.batch_images): got {images}; expected at least one "
                f"image per process, and there are {self.count}"
            )
        return range(images * self.rank // self.count, images * (self.rank + 1) // self.count)

    def sum(self, values: Tensor) -> Tensor:
        """Sum `values` over the processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def from_owners(self, tensors: Sequence[Tensor], owners: Sequence[int]) -> list[Tensor]:
        """Return each tensor as the process that owns it has it, in one exchange.

        owners: their ranks. tensors: of one type; of others' tensors only the shapes count.
        """
        if self.count == 1:
            return list(tensors)
        items: list[list[Tensor]] = [[] for _ in range(self.count)]
        for tensor, owner in zip(tensors, owners, strict=True):
            items[owner].append(tensor)
        sizes = [sum(tensor.numel() for tensor in theirs) for theirs in items]
        flat = tensors[0].new_empty(self.count, max(sizes))  # a row per process, of equal length
        own = tensors[0].new_empty(max(sizes))
        if items[self.rank]:  # there may be fewer tensors than processes
            torch.cat([tensor.reshape(-1) for tensor in items[self.rank]], out=own[: sizes[self.rank]])
        distributed.all_gather(list(flat), own)
        rows = [
            iter(torch.split(row[:size], [tensor.numel() for tensor in theirs]))
            for row, size, theirs in zip(flat, sizes, items, strict=True)
        ]
        return [next(rows[owner]).view(tensor.shape) for tensor, owner in zip(tensors, owners, strict=True)]

    def sum_gradients(self, parameters: Iterable[Parameter]) -> None:
        """Replace every gradient by its sum over the processes."""
        if self.count == 1:
            return
        # In memory order, and left in the summed tensor: converting channels_last gradients to the default order and
        # back would cost more than half of the sum. Autograd's gradients have no gaps.
        pairs = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
        sizes = [gradient.numel() for _, gradient in pairs]
        flat = self.sum(torch.cat([gradient.as_strided((gradient.numel(),), (1,)) for _, gradient in pairs]))
        for (parameter, gradient), part in zip(pairs, torch.split(flat, sizes), strict=True):
            parameter.grad = part.as_strided(gradient.shape, gradient.stride(), part.storage_offset())

    def mean_buffers(self, model: nn.Module) -> None:
        """Replace every floating point buffer, such as a running mean, by its mean over the processes."""
        if self.count == 1:
            return
        for buffer in model.buffers():
            if buffer.is_floating_point():
                self.sum(buffer).div_(self.count)

    def state_from_first(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the first process's state, or None, on the CPU. Others need not see its disk, and pass None.

        It travels as a checkpoint does: as bytes that hold tensors and plain containers alone.
        """
        if self.count == 1:
            return state
        buffer = io.BytesIO()
        if self.is_first and state is not None:
            torch.save(state, buffer)
        (size,) = self.from_first(float(buffer.getbuffer().nbytes))
        if size == 0.0:
            return None
        content = buffer.getbuffer() if self.is_first else memoryview(bytearray(int(size)))
        self._send(content)
        if self.is_first:
            return state
        received: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return received

    def _send(self, content: memoryview) -> None:
        """Replace the others' content by the first process's, in place."""
        for begin in range(0, len(content), _PIECE_BYTES):
            here = torch.frombuffer(content[begin : begin + _PIECE_BYTES], dtype=torch.uint8)
            there = here.to(self._device)
            distributed.broadcast(there, src=0)
            here.copy_(there)

    def from_first(self, *values: float) -> list[float]:
        """Return the first process's values."""
        return self.sum_numbers(*(value if self.is_first else 0.0 for value in values))

    def sum_numbers(self, *values: float) -> list[float]:
        """Return each value summed over the processes."""
        if self.count == 1:
            return list(values)
        numbers: list[float] = self.sum(torch.tensor(values, dtype=torch.float64, device=self._device)).tolist()
        return numbers

"""Record the work of a training step on a GPU as a CUDA graph once, and replay it for every step.

A small network's step is hundreds of kernels of a few microseconds each. Launching them one by one takes
the CPU longer than the GPU needs to run them. A graph launches them all at once.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import Parameter

# Runs before recording: they choose kernels and allocate workspaces.
_WARM_UP_RUNS = 3


class Recording:
    """`work` as a graph: its result, and the gradients it leaves in `parameters`, for inputs of the same shapes.

    `work` must not wait for the GPU. It may read what changes from step to step only from its inputs, from `generator`
    and from tensors that stay in place, such as buffers: a Python number would keep the value of the first step. It
    runs a few times before it is recorded, and must leave nothing but gradients. others: recordings that are replayed
    in turn with this one, and share its memory.
    """

    def __init__(
        self,
        work: Callable[..., Tensor],
        inputs: Sequence[Tensor | None],
        parameters: Sequence[Parameter],
        generator: Generator,
        others: Iterable["Recording"] = (),
    ) -> None:
        self._inputs = [None if tensor is None else tensor.clone() for tensor in inputs]
        self._parameters = parameters
        # A side stream: recording on the default stream is not possible.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                work(*self._inputs)
                self._clear_gradients()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        pool = next((other._graph.pool() for other in others), None)
        try:
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
                self._result = work(*self._inputs)
            self._gradients = [parameter.grad for parameter in parameters]
        finally:
            self._clear_gradients()  # nothing has been computed yet

    def replay(self, *inputs: Tensor | None) -> Tensor:
        """Return the result for these inputs. The next replay overwrites it, and the gradients."""
        for kept, tensor in zip(self._inputs, inputs, strict=True):
            if kept is not None and tensor is not None:
                kept.copy_(tensor)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._result

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

"""A step's work on a GPU, recorded once as a CUDA graph and replayed from then on.

A small network's step is hundreds of kernels of a few microseconds each. Started one by one they wait for the
processor, which needs longer to start one than the GPU to run it; a graph of them is started at once.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import Parameter

# Before recording: kernels are chosen, and workspaces laid out, in the first runs.
_WARM_UP_RUNS = 3


class Recording:
    """`work` as a graph: its result, and the gradients that it leaves in `parameters`, for inputs of the same shapes.

    work may wait for nothing on the GPU, and reads what changes from step to step from its inputs, from `generator` and
    from tensors that stay where they are, such as buffers: a number of Python's would be the first step's for good. It
    is run a few times before it is recorded, and must leave nothing but gradients. beside: others that are replayed by
    turns with this one, and share its memory.
    """

    def __init__(
        self,
        work: Callable[..., Tensor],
        inputs: Sequence[Tensor | None],
        parameters: Sequence[Parameter],
        generator: Generator,
        beside: Iterable["Recording"] = (),
    ) -> None:
        self._inputs = [None if tensor is None else tensor.clone() for tensor in inputs]
        self._parameters = parameters
        # Not the stream that all else goes by: nothing is recorded on that.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                work(*self._inputs)
                self._forget_gradients()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        pool = next((other._graph.pool() for other in beside), None)
        try:
            # Another thread may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
                self._result = work(*self._inputs)
            self._gradients = [parameter.grad for parameter in parameters]
        finally:
            self._forget_gradients()  # nothing has been calculated yet

    def replay(self, *inputs: Tensor | None) -> Tensor:
        """The result for these inputs, which the next replay overwrites; so does it the gradients."""
        for kept, tensor in zip(self._inputs, inputs, strict=True):
            if kept is not None and tensor is not None:
                kept.copy_(tensor)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._result

    def _forget_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

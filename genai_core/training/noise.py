"""Random numbers of a step: its own seed, and for a part of a batch, its part of the whole batch's noise."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def draw_seed(seed: int, step: int, phase: int, rollbacks: int) -> int:
    """Return the seed of one phase of one step.

    It depends only on the position in the run, so a resumed run, another process and a repeated attempt draw the same
    noise. After a rollback it differs, so that the noise that broke a run does not repeat. A CPU generator uses 32 of
    its 63 bits: among 100,000 steps about one pair has the same noise, which does not affect training.
    """
    return int(np.random.SeedSequence([seed, step, phase, rollbacks]).generate_state(1, np.uint64)[0] >> 1)


class WholeBatchNoise(TorchFunctionMode):
    """In the body, `torch.randn`, `rand`, `randint` with a generator draw for the whole batch and return a part's rows.

    first, end: the part's images in the batch of `whole` images. If the first dimension of a draw is the part's number
    of images, it is one row per image; other draws are unchanged. Parts that start with the same generator state thus
    get the noise that the whole batch would have had.
    """

    def __init__(self, first: int, end: int, whole: int) -> None:
        super().__init__()
        self._first, self._end, self._whole = first, end, whole

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func not in _LEADING_NUMBERS or options.get("generator") is None:
            return func(*args, **options)
        size, leading = _size(func, args, options)
        if not size or size[0] != self._end - self._first:
            return func(*args, **options)
        options.pop("size", None)
        drawn: Tensor = func(*leading, (self._whole, *size[1:]), **options)
        return drawn[self._first : self._end]


# Whether positional arguments come before the size: randint(high, size) or randint(low, high, size).
_LEADING_NUMBERS: dict[Callable[..., Any], bool] = {torch.randn: False, torch.rand: False, torch.randint: True}


def _size(
    func: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]
) -> tuple[tuple[int, ...], Sequence[Any]]:
    """Return the requested size, and the arguments before it."""
    if "size" in options:
        return tuple(options["size"]), args
    if _LEADING_NUMBERS[func]:
        return tuple(args[-1]), args[:-1]
    return (tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else tuple(args)), ()

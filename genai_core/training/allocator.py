"""Tune the CPU memory allocator for training, which needs the same memory at every step."""

import ctypes
import sys

# Parameters of glibc's mallopt(3), and its largest value.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1
_TOP_PAD_BYTES = 256 * 2**20


def keep_freed_memory() -> bool:
    """Keep freed memory in this process instead of returning it to the system and requesting it again.

    Activations and gradients are freed and needed again at every step. By default glibc returns them, and the kernel
    provides zeroed pages again, one page fault each: thousands per step. With this setting the process keeps its peak
    memory. Returns False and does nothing if the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _TOP_PAD_BYTES))
    taken = [mallopt(parameter, value) for parameter, value in wanted]
    return 0 not in taken

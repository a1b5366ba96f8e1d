"""The processor's memory allocator, told that a training asks for the same memory at every step."""

import ctypes
import sys

# Parameters of glibc's mallopt(3), and the largest value that it takes.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1
_TOP_PAD_BYTES = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, instead of giving it back to the system and asking for it again.

    Activations and gradients are freed and wanted again at every step. By default glibc returns them, and the kernel
    hands out zeroed pages anew, one fault for each: thousands a step. The process then holds on to the most that it
    ever needed. False, and nothing is done, where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _TOP_PAD_BYTES))
    taken = [mallopt(parameter, value) for parameter, value in wanted]
    return 0 not in taken

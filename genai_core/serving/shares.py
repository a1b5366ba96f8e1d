"""How many threads of a CPU an operation takes. The server counts with this, so it imports no torch."""

# The smallest batch of genai_core/drawing/batches.py: so many images are computed on one thread.
IMAGES_A_THREAD = 16


def share(op: str, images: int, threads: int) -> int:
    """Return how many of `threads` an operation on so many images takes; all of them if nothing may run beside it.

    `unload` waits for those that draw. What measures with the extractor uses kernels on several threads.
    """
    if op == "draw":
        return min(threads, -(-images // IMAGES_A_THREAD))
    return 1 if op == "encode" else threads

"""How many threads of a processor a drawing takes. Both ends of the pipe must agree, so this imports no torch."""

# The smallest batch of genai_core/drawing/batches.py: so many images are computed on one thread.
IMAGES_A_THREAD = 16


def threads_for(images: int, threads: int) -> int:
    """Return how many of `threads` have work when so many images are drawn."""
    return min(threads, -(-images // IMAGES_A_THREAD))

"""How many requests a minute each token may send: a bucket that fills steadily and holds ten seconds' worth."""

import math
import time
from collections.abc import Callable

BURST_S = 10.0


class RateLimit:
    """Buckets by the name of a token. per_minute 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_minute / 60.0
        self._most = max(1.0, self._per_s * BURST_S)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # what is left, and when that was

    def wait_s(self, name: str) -> int:
        """Count a request. Return 0 if it may proceed, else in how many seconds it may."""
        if not self._per_s:
            return 0
        now = self._clock()
        left, at = self._buckets.get(name, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_s)
        if left < 1.0:
            self._buckets[name] = (left, now)
            return max(1, math.ceil((1.0 - left) / self._per_s))
        self._buckets[name] = (left - 1.0, now)
        return 0

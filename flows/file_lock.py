"""The kernel's file locks (flock). One ends with the last process that holds it or inherited it, however that ends."""

import fcntl
from typing import IO


def try_lock(file: IO[str] | int, *, shared: bool = False) -> bool:
    """Lock an open file without waiting, and return whether that worked.

    shared: to check whether another process holds the lock, so that two checks do not see each other.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

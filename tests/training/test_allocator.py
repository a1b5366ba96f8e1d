import subprocess
import sys

import pytest

# Allocate and free blocks of 4 MB repeatedly, like activations; print the page faults of the last turns.
TURNS = """
import resource
import numpy as np
from genai_core.training.allocator import keep_freed_memory
print({kept} and keep_freed_memory())
for turn in range(30):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(2**20, np.float32) for _ in range(40)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_reused() -> None:
    done, faults = turns(kept=True)
    if not done:
        pytest.skip("the C library has no mallopt")
    assert faults < 200
    assert turns(kept=False)[1] > 10 * max(faults, 100)  # thousands without it


def turns(*, kept: bool) -> tuple[bool, int]:
    done, faults = subprocess.run(
        [sys.executable, "-c", TURNS.format(kept=kept)], capture_output=True, text=True, check=True
    ).stdout.split()
    return done == "True", int(faults)

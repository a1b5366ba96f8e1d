"""One-line errors for tasks that are not stages, as in tasks/context.py for stages."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from genai_core.config import NEEDS_MANUAL_ACTION
from tasks.context import EXPECTED_ERRORS


@contextmanager
def one_line(task: str) -> Iterator[None]:
    """End the process with one line and status NEEDS_MANUAL_ACTION on a fault that needs manual action."""
    try:
        yield
    except EXPECTED_ERRORS as error:
        print(f"{task}: {error}", file=sys.stderr, flush=True)
        sys.exit(NEEDS_MANUAL_ACTION)

"""One-line errors for tasks that are not stages, as in tasks/context.py for stages."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from genai_core.config import NEEDS_A_PERSON
from tasks.context import EXPECTED_ERRORS


@contextmanager
def one_line(task: str) -> Iterator[None]:
    """End the process with one line and status NEEDS_A_PERSON on a fault that needs manual action."""
    try:
        yield
    except EXPECTED_ERRORS as error:
        print(f"{task}: {error}", file=sys.stderr, flush=True)
        sys.exit(NEEDS_A_PERSON)

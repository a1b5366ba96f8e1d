"""Prefect's log on the console. Its settings are read once, so all this comes before prefect is imported."""

import logging
import os


def quiet_prefect(level: str = "CRITICAL") -> None:
    """Print only what is at least `level`: views show the rest, and would otherwise have every line twice."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", level)
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect reports usage unless told not to
    # As the process ends it sends its last events, and says so, below the error that the command ends with.
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)

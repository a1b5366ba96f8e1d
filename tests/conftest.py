"""What all tests share: where the real test data lies."""

import os
import signal
from pathlib import Path

import pytest

from tests.test_rooms import ROOT

# Workers of pytest-xdist share the cores: one thread each, and one for the processes that they start. Set before torch
# is loaded, which reads it once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# A job in the background of a script begins with Ctrl-C ignored, and so would what the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A file is one worker's: begun last, these would leave the others idle for minutes.
LONGEST = ("test_end_to_end.py", "test_story.py", "test_retrain.py")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, as many tests only wait for much of their time; four at most, for their memory."""
    return min(4, len(os.sched_getaffinity(0)) + 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images, by GENAI_TEST_DATA or beside the project."""
    folder = Path(os.environ.get("GENAI_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real test data: neither GENAI_TEST_DATA nor {folder} is a folder")
    return folder

"""What all tests share: where the real test data lies."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

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
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A function that makes a folder a PREFECT_HOME with Prefect's empty database.

    A server that makes the tables itself takes nine seconds of processor time for it: they are made once, for all
    workers.
    """
    folder = tmp_path_factory.getbasetemp()
    made = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "prefect-database"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            _make_database(made)

    def home(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / "prefect.db", folder)
        return folder

    return home


def _make_database(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
        env={**environment, "PREFECT_HOME": f"{folder}.new"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    Path(f"{folder}.new").rename(folder)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images, by GENAI_TEST_DATA or beside the project."""
    folder = Path(os.environ.get("GENAI_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real test data: neither GENAI_TEST_DATA nor {folder} is a folder")
    return folder

"""Shared by all tests: number of workers, order of files, templates made once, the real test data."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

from tests.test_rooms import ROOT
from tests.tiers import SLOW

# Workers of pytest-xdist share the cores: one thread each, and one for the processes that they start. Set before torch
# is loaded, which reads it once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# A job in the background of a script begins with Ctrl-C ignored, and so would what the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A file is one worker's: begun last, these would leave the others idle for minutes.
LONGEST = ("test_end_to_end.py", "test_story.py", "test_retrain.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out the slow files (tests/tiers.py) and long tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Slow files are not even imported."""
    name = collection_path.relative_to(ROOT / "tests").as_posix() if collection_path != ROOT else ""
    return True if config.getoption("--quick") and name in SLOW else None


def pytest_xdist_auto_num_workers() -> int:
    """Two a core, as many tests only wait for much of their time; four at most, for their memory."""
    return min(4, 2 * len(os.sched_getaffinity(0)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """A function: the folder of a name, which the first worker that asks for it makes. To be copied, never changed."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        shared.mkdir(exist_ok=True)
        made, new, failed = shared / name, shared / f"{name}.new", shared / f"{name}.failed"
        with FileLock(shared / f"{name}.lock"):
            if failed.exists():  # once is enough: it may have taken minutes
                pytest.fail(f"{name} could not be made: {failed.read_text()}")
            if not made.exists():
                try:
                    make(new)
                except BaseException as error:
                    failed.write_text(repr(error))
                    raise
                new.rename(made)
        return made

    return folder


@pytest.fixture(scope="session")
def prefect_home(made_once: MadeOnce, pytestconfig: pytest.Config) -> Callable[[Path], Path]:
    """A function that makes a folder a PREFECT_HOME with Prefect's empty database.

    A server that makes the tables itself takes nine seconds of processor time for it. They are
    kept for the next session.
    """
    assert pytestconfig.cache is not None
    kept = pytestconfig.cache.mkdir(f"prefect-{version('prefect')}") / "prefect.db"

    def make(folder: Path) -> None:
        if kept.exists():
            folder.mkdir()
            shutil.copy(kept, folder / "prefect.db")
            return
        _make_database(folder)
        shutil.copy(folder / "prefect.db", kept.with_suffix(".new"))
        kept.with_suffix(".new").rename(kept)

    def home(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(made_once("prefect-database", make) / "prefect.db", folder)
        return folder

    return home


def _make_database(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
        env={**environment, "PREFECT_HOME": str(folder)},
        capture_output=True,
        timeout=300,
        check=True,
    )


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images, by GENAI_TEST_DATA or beside the project."""
    folder = Path(os.environ.get("GENAI_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real test data: neither GENAI_TEST_DATA nor {folder} is a folder")
    return folder

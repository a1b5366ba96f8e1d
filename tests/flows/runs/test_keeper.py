"""The keeper removes a killed run's checkout once all processes of the run have ended."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.git import git
from flows.process import start_keeper
from flows.runs.active_run import KEEPER
from flows.runs.checkout import open_detached
from flows.runs.record import CHECKOUT, RUNS, run_folder
from tests.flows.conftest import DVC_WARNS, wait_for

pytestmark = DVC_WARNS


@pytest.fixture
def keep(fresh: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Start a keeper of the run `some` of a workspace; it ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        started.append(start_keeper(KEEPER, str(fresh), str(fresh / RUNS / "some")))
        return started[-1]

    yield start
    for keeper in started:
        keeper.kill()
        keeper.communicate()


def test_a_killed_run(fresh: Path, keep: Callable[[], "subprocess.Popen[bytes]"]) -> None:
    with run_folder(fresh, "some") as (folder, lock):
        open_detached(fresh, "HEAD", folder / CHECKOUT)
        (folder / CHECKOUT / "half-made").write_text("x")
        keeper = keep()
        command = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    # The run is dead; its command is still saving.
    try:
        assert keeper.stdin is not None
        keeper.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            keeper.wait(0.7)
        assert (folder / CHECKOUT / "half-made").exists()
    finally:
        command.kill()
        command.communicate()
    assert keeper.wait(20.0) == 0
    assert not (folder / CHECKOUT).exists()
    assert git(fresh, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert git(fresh, "status", "--porcelain") == ""


def test_a_run_that_removed_its_checkout_itself(fresh: Path, keep: Callable[[], "subprocess.Popen[bytes]"]) -> None:
    with run_folder(fresh, "some"):
        keeper = keep()
        assert keeper.stdin is not None
        keeper.communicate(b"over", timeout=20.0)
        assert keeper.returncode == 0  # at once, though the run's lock is still taken


def test_nothing_is_removed_while_the_run_is_alive(fresh: Path, keep: Callable[[], "subprocess.Popen[bytes]"]) -> None:
    with run_folder(fresh, "some") as (folder, _):
        open_detached(fresh, "HEAD", folder / CHECKOUT)
        keeper = keep()
        with pytest.raises(subprocess.TimeoutExpired):
            keeper.wait(0.5)
        assert (folder / CHECKOUT / "params.yaml").is_file()


def test_a_checkout_that_git_does_not_know(fresh: Path, keep: Callable[[], "subprocess.Popen[bytes]"]) -> None:
    """Killed in the middle of `git worktree add`."""
    folder = fresh / RUNS / "some"
    (folder / CHECKOUT / "data").mkdir(parents=True)
    keeper = keep()
    assert keeper.stdin is not None
    keeper.stdin.close()
    assert keeper.wait(20.0) == 0
    assert not (folder / CHECKOUT).exists()
    wait_for(lambda: git(fresh, "worktree", "list", "--porcelain").count("worktree ") == 1)


def test_a_run_killed_between_the_folder_and_gits_record_of_it(
    fresh: Path, keep: Callable[[], "subprocess.Popen[bytes]"]
) -> None:
    with run_folder(fresh, "some") as (folder, _):
        open_detached(fresh, "HEAD", folder / CHECKOUT)
        shutil.rmtree(folder / CHECKOUT)
    keeper = keep()
    assert keeper.stdin is not None
    keeper.stdin.close()
    assert keeper.wait(20.0) == 0
    assert git(fresh, "worktree", "list", "--porcelain").count("worktree ") == 1

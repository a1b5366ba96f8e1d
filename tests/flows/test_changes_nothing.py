"""Commands that promise to change nothing leave every file unchanged."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.conftest import genai, set_parameter, shell

File = tuple[int, int, int, int, str]


@pytest.fixture
def pushed(done: Path, tmp_path: Path) -> Path:
    """All is up to date, committed and at a remote, and no folder for DVC's indexes is configured."""
    shell(done, f"dvc remote add -q -d storage {tmp_path / 'remote'} && dvc push -q")
    shell(done, "git add -A && git commit -q -m done")
    return done


def files_below(folder: Path, skipped: str = "/nothing/") -> dict[str, File]:
    """Mode, inode, size, time of writing and content of all that lies in a folder, and of the folder itself."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        if skipped in f"{path}/":
            continue
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        size = 0 if path.is_dir() else stat.st_size
        digest = hashlib.sha256(content).hexdigest()
        found[str(path)] = (stat.st_mode, stat.st_ino, size, stat.st_mtime_ns, digest)
    return found


def changes(act: Callable[[], object], *folders: Path, skipped: str = "/nothing/") -> list[str]:
    """The paths in these folders that `act` made, deleted or changed."""
    before = {path: file for folder in folders for path, file in files_below(folder, skipped).items()}
    act()
    after = {path: file for folder in folders for path, file in files_below(folder, skipped).items()}
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def settings() -> Path:
    """Where the tests keep what else would lie in the home folder or in /var/tmp: Prefect's, and DVC's site cache."""
    return Path(os.environ["PREFECT_HOME"]).parent


@pytest.mark.parametrize("arguments", ["doctor", "data verify", "data verify --content --all-commits"])
@pytest.mark.parametrize("cloned", [False, True])
def test_read_only_commands_leave_no_trace(arguments: str, cloned: bool, pushed: Path, tmp_path: Path) -> None:
    """Not even in DVC's folders, nor in those of a clone in which DVC was never asked anything."""
    workspace = pushed
    if cloned:
        workspace = tmp_path / "clone"
        shell(tmp_path, f"git clone -q {pushed} {workspace}")
    else:
        shell(workspace, "touch params.yaml")  # git would note in its index that it is the same

    def act() -> None:
        answer = genai(workspace, *arguments.split(), DVC_SITE_CACHE_DIR="")
        assert re.search("all 9 objects (are|have) ", answer.stdout), answer.stderr

    assert changes(act, tmp_path, settings()) == []


@pytest.mark.parametrize("private", [False, True])
def test_plan_writes_only_dvcs_hash_cache(private: bool, pushed: Path, tmp_path: Path) -> None:
    """private: the checkout has a folder of its own for that, as a push or a pull gives it one."""
    variables = {}
    if private:
        shell(pushed, f"dvc config --local core.site_cache_dir {pushed / '.dvc/tmp/site'}")
        variables["DVC_SITE_CACHE_DIR"] = ""
    set_parameter(pushed, "models.gan.training.learning_rate", 0.5)
    (pushed / "data/raw/new.txt").write_text("an image")
    (pushed / "out/prepared").rename(tmp_path / "elsewhere")

    def act() -> None:
        answer = genai(pushed, "plan", **variables)
        assert "params.yaml models.gan.training.learning_rate: 0.001 -> 0.5" in answer.stdout, answer.stderr

    site = Path(os.environ["DVC_SITE_CACHE_DIR"])
    assert changes(act, tmp_path, skipped="/.dvc/tmp/") == []
    assert all(path.startswith(str(site)) for path in changes(act, settings()))


@pytest.mark.parametrize("command", ["plan", "doctor"])
def test_interrupted_write_is_reported_but_not_repaired(command: str, pushed: Path, tmp_path: Path) -> None:
    (pushed / "dvc.lock").write_bytes(b"")
    (pushed / ".dvc/tmp/rwlock").write_text('{"write": {"a')
    answers = []
    assert changes(lambda: answers.append(genai(pushed, command)), tmp_path) == []
    assert answers[0].returncode != 0
    assert "dvc.lock is empty" in answers[0].stdout + answers[0].stderr

"""Promote and roll back with a git and a DVC remote. A failure at any point leaves production unchanged."""

import shutil
import signal
from pathlib import Path

import pytest

from flows.data.objects import RemoteError
from flows.data.remote import push
from flows.data.remote import push_commit as push_data
from flows.git import GitError
from flows.registry.promotion import promote, rollback
from flows.registry.read import RegistryError, read_registry
from flows.registry.write import newer_tags, tags_at
from genai_core import load_model
from tests.flows.conftest import DVC_WARNS, genai, shell
from tests.flows.model_home import at_commit, hook, make, production, python, remotes

pytestmark = DVC_WARNS


def test_production_on_another_machine(home: Path, tmp_path: Path) -> None:
    bare, storage = remotes(home)
    moved = promote(home, push_data)
    assert (moved.data_remote, moved.git_remote) == ("storage", "origin")
    other = tmp_path / "other"
    shell(tmp_path, f"dvc artifacts get -q {bare} candidate --stage prod -o fetched && git clone -q {bare} other")
    assert load_model(tmp_path / "fetched").draw(2, seed=5).pixels.shape == (2, 1, 8, 8)

    # A second version there, and back, with the first one's data at the remote only: in both clones it is known.
    shell(other, "dvc pull -q")
    make(other, 1.0)
    assert promote(other, push_data).version == "v0.0.2"
    shutil.rmtree(other / ".dvc" / "cache")
    assert rollback(other).version == "v0.0.1"
    answer = genai(home, "registry", "show", "--local")
    assert "v0.0.2" not in answer.stdout
    assert "v0.0.2" in genai(home, "registry", "show").stdout
    assert production(home) == "v0.0.1"

    # Two independent moves: the second one fails, and production is what the first one set.
    rollback(home, to="v0.0.2")
    shell(other, "git fetch -q origin")  # not the tags
    hook(other / ".git", "pre-push", "exit 1")  # a person's own checks of commits are no matter of tags
    with pytest.raises(RegistryError, match=r"v0\.0\.2 is already in production"):
        rollback(other, to="v0.0.2")

    # Data that is gone.
    shutil.rmtree(storage)
    with pytest.raises(RegistryError, match=r"not complete in DVC's cache nor at the DVC remote storage.*v0\.0\.2"):
        rollback(other, to="v0.0.1")
    shutil.move(bare, tmp_path / "away")
    answer = genai(home, "registry", "show")
    assert "origin does not answer" in answer.stderr
    assert "v0.0.2" in answer.stdout
    with pytest.raises(GitError, match="origin"):
        rollback(home, to="v0.0.1")
    assert production(home) == "v0.0.2"


KILLED_AFTER_THE_DATA = """
import os, signal, sys
from pathlib import Path
from flows.registry.promotion import promote
from flows.data.remote import push_commit as push_data

def push_and_die(workspace, commit):
    push_data(workspace, commit)
    os.kill(os.getpid(), signal.SIGKILL)

promote(Path(sys.argv[1]), push_and_die)
"""
KILLED = """
import sys
from pathlib import Path
from flows.registry.promotion import promote
from flows.data.remote import push_commit as push

promote(Path(sys.argv[1]), push)
"""


def test_failures_leave_production_unchanged(home: Path) -> None:
    bare, storage = remotes(home)
    at_commit(home, "HEAD~2")
    shell(home, f"dvc remote add -q --local -d storage {storage}")
    promote(home, push_data)
    at_commit(home, "main")
    before = tags_at(home, "origin")

    def unchanged() -> bool:
        return production(home) == "v0.0.1" and tags_at(home, "origin") == before == read_registry(home).tags

    # The data cannot be sent: the storage is no folder.
    shutil.move(storage, storage.with_name("away"))
    storage.write_text("not a folder")
    with pytest.raises(RemoteError, match="storage"):
        promote(home, push_data)
    assert unchanged()
    storage.unlink()
    shutil.move(storage.with_name("away"), storage)
    # It was sent, says the sender, and is not there.
    with pytest.raises(RegistryError, match=r"incomplete at the DVC remote.*unchanged: v0\.0\.1"):
        promote(home, lambda _workspace, _commit: None)
    assert unchanged()
    # git's remote takes nothing.
    hook(bare, "pre-receive", "echo 'this is read-only' >&2; exit 1")
    with pytest.raises(RegistryError, match=r"origin refused the tags.*read-only"):
        promote(home, push_data)
    with pytest.raises(RegistryError, match="nothing was in production before"):
        rollback(home)
    assert unchanged()
    # It takes one of the two tags only.
    (bare / "hooks" / "pre-receive").unlink()
    hook(bare, "update", "case $1 in *#prod*) exit 1;; esac")
    with pytest.raises(RegistryError, match="origin refused the tags"):
        promote(home, push_data)
    assert unchanged()
    (bare / "hooks" / "update").unlink()
    # Killed after the data, before the tags.
    assert python(home, KILLED_AFTER_THE_DATA).returncode == -signal.SIGKILL
    assert unchanged()
    # Killed while the remote makes up its mind: the grandparent of the hook's shell is `git push`, its parent is ours.
    hook(home / ".git", "reference-transaction", _KILL_OURS)
    assert python(home, KILLED).returncode == -signal.SIGKILL
    assert production(home) == "v0.0.1"
    assert "candidate@v0.0.2" in tags_at(home, "origin")  # the remote had decided already
    (home / ".git" / "hooks" / "reference-transaction").unlink()
    newer_tags(home, "origin")
    assert production(home) == "v0.0.2"
    assert read_registry(home).tags == tags_at(home, "origin")


# In the transaction of `git update-ref`, which is our own child: end ours before anything is written.
_KILL_OURS = """
if [ "$1" = prepared ]; then
    kill -9 $(ps -o ppid= -p $PPID)
    exit 1
fi
"""


def test_two_clones_promote_at_once(home: Path, tmp_path: Path) -> None:
    """Both read the same state. The remote accepts one, and the other's model is not in production."""
    remotes(home)
    other = Path(shutil.copytree(home, tmp_path / "other", symlinks=True))
    make(other, 1.0)

    def slow_push(workspace: Path, commit: str) -> None:
        push_data(workspace, commit)
        promote(home, push_data)  # meanwhile, in the other clone

    with pytest.raises(RegistryError, match=r"another clone moved production meanwhile \(candidate@v0.0.1\)"):
        promote(other, slow_push)
    newer_tags(other, "origin")
    assert read_registry(other).tags == read_registry(home).tags == tags_at(home, "origin")
    assert promote(other, push_data).version == "v0.0.2"


def test_the_commit_is_pushed_and_an_unchecked_remote_is_not_named(home: Path) -> None:
    _, storage = remotes(home)

    def busy_push(workspace: Path, commit: str) -> None:
        """Meanwhile somebody runs the pipeline there."""
        (home / "params.yaml").write_text("selection:\n  figure: 9.0\n")
        shell(home, "dvc repro -q")
        push_data(workspace, commit)

    promote(home, busy_push)
    at_remote = sum(path.is_file() for path in storage.rglob("*"))
    push(home)
    assert sum(path.is_file() for path in storage.rglob("*")) > at_remote  # the run's model was not sent before
    make(home, 1.0)
    promote(home, push_data)
    shutil.rmtree(storage)
    answer = genai(home, "rollback")
    assert answer.returncode == 0, answer.stderr
    assert "data: complete in this machine's DVC cache; no DVC remote was checked" in answer.stdout


@pytest.mark.parametrize("fetched", ["*", "candidate@v0.0.1"])
def test_the_tags_are_fetched_while_the_push_waits(home: Path, fetched: str) -> None:
    """As by `genai history` in the same clone, while a hook of the remote is slow."""
    bare, _ = remotes(home)
    specs = f"'refs/tags/{fetched}:refs/tags/{fetched}'"
    hook(bare, "post-receive", f"unset GIT_DIR; git -C {home} fetch -q --no-tags origin {specs}")
    assert promote(home, push_data).version == "v0.0.1"
    assert production(home) == "v0.0.1"
    assert read_registry(home).tags == tags_at(home, "origin")

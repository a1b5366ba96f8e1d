"""Promote and roll back with the real git and DVC. A failure at any point leaves production unchanged."""

import json
import shutil
import signal
from datetime import datetime, timedelta
from pathlib import Path

import dvc.api
import gto.api
import pytest

from flows.data.objects import RemoteError
from flows.data.remote import push
from flows.data.remote import push_commit as push_data
from flows.git import GitError
from flows.registry.promotion import promote, rollback
from flows.registry.read import RegistryError, read_registry
from flows.registry.write import newer_tags, tags_at
from genai_core import load_model
from tests.flows.conftest import DVC_WARNS, edit, genai, shell
from tests.flows.model_home import git_remote, hook, make, new_home, python

pytestmark = DVC_WARNS


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits with a model each; the second is checked out."""
    home = new_home(tmp_path_factory.mktemp("template") / "home")
    make(home, 3.0)
    make(home, 2.0)
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "home", symlinks=True))


def at_commit(home: Path, revision: str) -> None:
    shell(home, f"git checkout -q {revision} && dvc checkout -q")


def production(home: Path) -> str | None:
    move = read_registry(home).production()
    return move.version if move else None


def remotes(home: Path) -> tuple[Path, Path]:
    """A git and a DVC remote on this disk."""
    storage = home.parent / "storage"
    shell(home, f"dvc remote add -q -d storage {storage} && git commit -q -a -m remote")
    return git_remote(home), storage


def test_promotions_and_rollbacks_without_remotes(home: Path) -> None:
    second = shell(home, "git rev-parse HEAD").strip()
    at_commit(home, "HEAD~1")
    first = promote(home, push_data, why="the first\nof all", by="a test")
    assert (first.version, first.before, first.data_remote, first.git_remote) == ("v0.0.1", None, None, None)
    at_commit(home, "main")
    assert promote(home, push_data, version="v1.0.0").before == "v0.0.1"
    with pytest.raises(RegistryError, match=r"nothing to promote: v1\.0\.0"):
        promote(home, push_data)

    # What GTO and DVC read is what we read.
    for name in ("v1.0.0", "v0.0.1"):
        assert production(home) == name
        (seen,) = gto.api.show(str(home), "candidate#prod")
        assert seen["version"] == name
        shown = dvc.api.artifacts_show("candidate", stage="prod", repo=str(home))
        assert (
            shell(home, f"git rev-parse {shown['rev']}^{{commit}}").strip() == read_registry(home).version(name).commit
        )
        if name == "v1.0.0":
            assert rollback(home, why="it draws circles").version == "v0.0.1"
    with pytest.raises(RegistryError, match=r"nothing was in production before v0\.0\.1"):
        rollback(home)

    registry = read_registry(home)
    assert [move.action for move in registry.moves] == ["promote", "promote", "rollback"]
    assert [move.why for move in registry.moves] == ["the first of all", "fd is 2", "it draws circles"]
    facts = registry.version("v1.0.0").facts
    assert facts is not None
    assert registry.version("v1.0.0").commit == second
    assert (facts.metric, facts.figures, facts.dataset) == ("fd", {"fd": 2.0}, "d" * 64)
    times = [move.at for move in registry.moves]
    assert times == sorted(set(times))  # whole seconds, and none twice
    assert registry.production(times[0] - timedelta(seconds=1)) is None
    at_the_time = [registry.production(time) for time in times]
    assert [move.version for move in at_the_time if move] == ["v0.0.1", "v1.0.0", "v0.0.1"]

    # As a person sees it.
    assert "v1.0.0" in genai(home, "registry", "show").stdout.splitlines()[1]
    lines = genai(home, "history").stdout.splitlines()
    assert "it draws circles" in lines[1]
    assert "v0.0.1" in lines[1]
    answer = genai(home, "registry", "at", times[1].astimezone().isoformat())
    assert answer.stdout.startswith("v1.0.0, since ")
    assert "no model was in production" in genai(home, "registry", "at", "2001-01-01").stdout
    tomorrow = (datetime.now() + timedelta(days=1)).date()
    assert genai(home, "registry", "at", str(tomorrow)).stdout.startswith("v0.0.1, since ")
    answer = genai(home, "registry", "at", "yesterday")
    assert (answer.returncode, "expected a date" in answer.stderr) == (2, True)


def test_dry_run_and_json(home: Path) -> None:
    _, storage = remotes(home)
    before = shell(home, "git for-each-ref"), shell(home, "git ls-remote origin")
    plain = genai(home, "promote", "--dry-run")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.startswith("v0.0.1 would be in production (the first version, commit ")
    assert plain.stdout.endswith("Dry run: nothing was pushed or tagged.\n")
    planned = json.loads(genai(home, "promote", "--dry-run", "--json").stdout)
    assert (shell(home, "git for-each-ref"), shell(home, "git ls-remote origin")) == before
    assert not storage.exists()
    assert planned == {
        "version": "v0.0.1",
        "before": None,
        "commit": shell(home, "git rev-parse HEAD").strip(),
        "data_remote": "storage",
        "git_remote": "origin",
        "tags": ["candidate@v0.0.1", "candidate#prod#1"],
        "dry_run": True,
    }
    done = genai(home, "promote", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {**planned, "dry_run": False}
    assert production(home) == "v0.0.1"
    again = genai(home, "promote", "--dry-run", "--json")  # the checks are those of a promotion
    assert again.returncode == 2
    assert json.loads(again.stdout)["error"].startswith("nothing to promote: v0.0.1")

    at_commit(home, "HEAD~2")  # the other model, from before there was a DVC remote
    older = json.loads(genai(home, "promote", "--json").stdout)
    back = json.loads(genai(home, "rollback", "--json").stdout)
    assert (older["version"], older["before"]) == ("v0.0.2", "v0.0.1")
    changed = {"before": "v0.0.2", "data_remote": None, "tags": ["candidate#prod#3"], "dry_run": False}
    assert back == {**planned, **changed}


def test_many_moves_in_a_second_and_rollbacks_through_all(home: Path) -> None:
    """Alphabetically, #10 comes before #9. DVC finds the last move only by its time, in whole seconds."""
    at_commit(home, "HEAD~1")
    promote(home, push_data)
    at_commit(home, "main")
    promote(home, push_data)
    for _ in range(5):
        rollback(home, to="v0.0.1")
        rollback(home, to="v0.0.2")
    assert "candidate#prod#12" in read_registry(home).tags
    assert production(home) == "v0.0.2"
    rev = dvc.api.artifacts_show("candidate", stage="prod", repo=str(home))["rev"]
    assert shell(home, f"git rev-parse {rev}") == shell(home, "git rev-parse main")
    # A rollback without a name goes to what was there before, not to where the last rollback came from.
    assert rollback(home).version == "v0.0.1"
    # What was withdrawn by another tool is not offered again.
    gto.api.deregister(str(home), "candidate", version="v0.0.2")
    assert read_registry(home).version("v0.0.2").withdrawn
    with pytest.raises(RegistryError, match="withdrawn"):
        rollback(home, to="v0.0.2")
    # Nor does a tag that only looks like one of ours matter.
    shell(home, "git tag candidate@vNext && git tag 'candidate#prod#99' && git tag -a -m x 'candidate#staging#40' HEAD")
    assert production(home) == "v0.0.1"
    assert read_registry(home).next_number() == 41


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


def test_a_model_of_other_data_is_refused(home: Path) -> None:
    """The stage reads files of the data, not the folder."""
    files = "data/raw/config.json, data/raw/model.safetensors"
    edit(home / "dvc.yaml", "deps: [data/raw, tasks]", f"deps: [{files}, tasks]")
    make(home, 2.0)
    edit(home / "data/raw/config.json", "d" * 64, "e" * 64)
    shell(home, "dvc add -q data/raw && git commit -q -a -m 'other data'")
    with pytest.raises(RegistryError, match=r"these differ: candidate: data/raw/config\.json\. "):
        promote(home, push_data)
    shell(home, "git reset -q --hard HEAD~1 && dvc checkout -q")
    assert promote(home, push_data, dry_run=True).version == "v0.0.1"
    shutil.rmtree(home / ".dvc" / "cache")
    with pytest.raises(
        RegistryError, match=r"the listing of data/raw \(.*\) is neither in DVC's cache nor at the remote"
    ):
        promote(home, push_data)


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


def test_refused_promotions(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="nothing is in production yet"):
        rollback(home)
    with pytest.raises(RegistryError, match=r"expected three numbers after a v"):
        promote(home, push_data, version="2")
    (home / "params.yaml").write_text("selection:\n  figure: 9.0\n")
    with pytest.raises(RegistryError, match=r"not committed: params.yaml"):
        promote(home, push_data)
    shell(home, "git commit -q -a -m 'not run'")
    with pytest.raises(RegistryError, match=r"these differ: candidate: params.yaml selection\. "):
        promote(home, push_data)
    shell(home, "git revert -n HEAD && echo '# a change' >> tasks/candidate.py && git commit -q -a -m 'other code'")
    with pytest.raises(RegistryError, match=r"these differ: candidate: tasks\. "):
        promote(home, push_data)
    shell(home, "git reset -q --hard HEAD~2")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    with pytest.raises(GitError, match="empty ident"):
        promote(home, push_data)
    monkeypatch.undo()
    shutil.rmtree(home / ".dvc" / "cache")
    with pytest.raises(RegistryError, match="neither in DVC's cache nor at the remote"):
        promote(home, push_data)
    with pytest.raises(GitError, match="no git repository here"):
        promote(tmp_path, push_data)
    answer = genai(home, "rollback", "--to", "v7.0.0")
    assert (answer.returncode, answer.stderr.strip()) == (
        2,
        "nothing is in production yet, so there is nothing to roll back; run `genai promote`",
    )

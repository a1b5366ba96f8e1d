"""`genai gc` with real git and DVC: named objects stay usable, and nothing else remains."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.gc import locks as locks_module
from flows.gc import scratch
from flows.gc.collect import Collected, collect
from flows.gc.locks import runs_blocked
from flows.gc.roots import CollectError
from flows.git import GitError
from flows.plan import plan_of
from flows.runs.checkout import open_detached
from flows.workspace import repair_locks
from tests.flows.conftest import DVC_WARNS, ROOT, edit, genai, set_parameter, shell, wait_for
from tests.flows.conftest import diary as toy_diary
from tests.flows.model_home import make, new_home

pytestmark = DVC_WARNS

SEED = "models.gan.training.seed"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits with a model each; the first and the last are versions, the last is in production."""
    home = new_home(tmp_path_factory.mktemp("template") / "home")
    for figure in (3.0, 2.5, 2.0):
        make(home, figure)
        if figure != 2.5:
            answer = genai(home, "promote")
            assert answer.returncode == 0, answer.stderr
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "home", symlinks=True))


def model_of(home: Path, revision: str = "HEAD") -> str:
    """DVC's hash of a commit's model."""
    text = shell(home, f"git show {revision}:dvc.lock")
    return text.split("path: models/candidate")[1].split("md5: ")[1].split()[0]


def is_whole(home: Path, md5: str) -> bool:
    """Whether the cache alone has all of a folder, checked out by DVC."""
    path = home / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    if not path.is_file():
        return False
    names = [part.split('"')[0] for part in path.read_text().split('"md5": "')[1:]]
    return all((path.parents[1] / name[:2] / name[2:]).is_file() for name in names)


def everything(folder: Path) -> dict[str, bytes]:
    """All below a folder but what opening it writes: git's and DVC's own notes, and our locks."""
    own = (
        ".git/index",
        ".dvc/tmp/",
        ".genai/run.lock",
        ".genai/retraining.lock",
        ".genai/change.lock",
        ".genai/gc.lock",
    )
    files = (path for path in folder.rglob("*") if path.is_file())
    return {name: p.read_bytes() for p in files if not (name := str(p.relative_to(folder))).startswith(own)}


def amounts(found: Collected) -> dict[str, int]:
    return {entry.kind: entry.files for entry in found.freed}


def try_out(home: Path, figure: float) -> str:
    """Train another model and restore the committed one: the new one is only in the cache and run-cache."""
    (home / "params.yaml").write_text(f"selection:\n  figure: {figure}\n")
    shell(home, "dvc repro -q")
    md5 = (home / "dvc.lock").read_text().split("path: models/candidate")[1].split("md5: ")[1].split()[0]
    shell(home, "git checkout -q dvc.lock params.yaml && dvc checkout -q")
    return md5


def test_production_and_rollbacks_stay_and_experiments_are_deleted(home: Path) -> None:
    tried, between = try_out(home, 7.0), model_of(home, "HEAD~1")
    versions = [model_of(home, "HEAD~2"), model_of(home)]
    before = everything(home)
    answer = genai(home, "gc", "--dry-run")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    # A listing and a selection.json each: their weights belong to models that stay.
    assert lines[0].split() == ["models", "4", "files", "0.0", "MB"]
    assert lines[1].split() == ["run-cache", "2", "files", "0.0", "MB"]
    assert lines[2].startswith("would free 6 files, ")
    assert lines[2].endswith("needed by 1 branch, 4 tags and 1 checkout")
    assert everything(home) == before
    assert is_whole(home, tried)

    answer = genai(home, "gc")
    assert answer.stdout.splitlines() == [*lines[:2], lines[2].replace("would free", "freed")]
    assert [is_whole(home, md5) for md5 in (tried, between, *versions)] == [False, False, True, True]
    assert "nothing to free" in genai(home, "gc").stdout
    # Without a remote, deleted files are lost. Everything in use must still work.
    assert genai(home, "rollback").stdout.startswith("v0.0.1 is in production")
    shell(home, "git checkout -q candidate@v0.0.1 && dvc checkout -q")
    assert shell(home, "dvc status").strip() == "Data and pipelines are up to date."
    # The run-cache has no entry with missing outputs: deleted results are made again.
    shell(home, "git checkout -q main")
    assert (try_out(home, 7.0), is_whole(home, tried)) == (tried, True)


def test_the_checkout_of_a_killed_run_whose_keeper_was_killed(home: Path) -> None:
    run = home / ".genai/runs/20261128-101503-ab12"
    run.mkdir(parents=True)
    open_detached(home, "HEAD", run / "checkout")
    (run / "checkout/half-made").write_text("x" * 1000)
    with (run / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # it is alive
        assert not [entry for entry in collect(home, dry_run=False).freed if entry.kind == ".genai/runs"]
        assert (run / "checkout/half-made").is_file()
    planned = [entry for entry in collect(home, dry_run=True).freed if entry.kind == ".genai/runs"]
    assert planned[0].size_bytes > 1000
    assert (run / "checkout/half-made").is_file()
    found = collect(home, dry_run=False)
    assert [entry for entry in found.freed if entry.kind == ".genai/runs"] == planned
    assert found.needed_by.endswith("and 1 checkout")
    assert not (run / "checkout").exists()
    assert shell(home, "git worktree list --porcelain").count("worktree ") == 1
    assert not collect(home, dry_run=False).freed


def test_a_worktree_that_a_retraining_left_is_kept(home: Path) -> None:
    """Its dvc.lock is not committed: a run in it was killed."""
    tree = home / ".genai/worktrees/retrain-x"
    shell(home, f"git worktree add -q -b retrain/x {tree} && dvc config --local -q cache.dir .dvc/cache")
    shutil.copy(home / ".dvc/config.local", tree / ".dvc/config.local")
    shell(tree, f"dvc cache dir -q --local {home / '.dvc/cache'}")
    (tree / "params.yaml").write_text("selection:\n  figure: 7.0\n")
    shell(tree, "dvc checkout -q data/raw && dvc repro -q")
    made = (tree / "dvc.lock").read_text().split("path: models/candidate")[1].split("md5: ")[1].split()[0]
    shutil.rmtree(tree / "models")
    for place in (home, tree):  # from any folder
        collect(place, dry_run=False)
        assert is_whole(home, made)
    shell(home, f"git worktree remove --force {tree}")
    collect(home, dry_run=False)
    assert not is_whole(home, made)


RUN = """
import subprocess, sys
from pathlib import Path
from flows.workspace import only_run_in

with only_run_in(Path(sys.argv[1])):
    subprocess.run(["dvc", "repro", "-q"], cwd=sys.argv[1])
"""


@contextmanager
def active_run(workspace: Path, toy: dict[str, Any]) -> Iterator["subprocess.Popen[bytes]"]:
    """A run without Prefect, active in the body; then it and all its processes are killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOY": json.dumps(toy)}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(workspace)], env=environment, start_new_session=True)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # Until their ids are free: DVC takes a zombie for a live process.
        wait_for(lambda: not any(psutil.pid_exists(child.pid) for child in family), 60.0)


# --- the run-cache, interrupted and active runs -----------------------------------------------------------------------


def test_what_an_interrupted_run_would_restore_stays(done: Path) -> None:
    shell(done, "git add -A && git commit -q -m done")
    was = set_parameter(done, SEED, 5)
    shell(done, "dvc repro -q")
    set_parameter(done, SEED, 6)
    shell(done, "dvc repro -q")
    trained = len(toy_diary(done, "train@gan"))
    # Killed while DVC wrote dvc.lock: until it is repaired, the finished stages are unknown.
    (done / "dvc.lock").write_bytes(b"")
    with pytest.raises(CollectError, match=r"dvc\.lock is empty.*Restore it with `genai run` there"):
        collect(done, dry_run=False)
    # The repaired file is the committed one: stages finished since are only in the run-cache.
    assert len(repair_locks(done)) == 1
    assert plan_of(done, [])["train@gan"].action == "restore"
    found = collect(done, dry_run=False)
    assert amounts(found)["run-cache"] == 2  # training and selection of the abandoned seed
    shell(done, "dvc repro -q")
    assert len(toy_diary(done, "train@gan")) == trained
    # The same for the committed state; nothing of the other seed is left.
    set_parameter(done, SEED, was)
    assert plan_of(done, [])["train@gan"].action == "restore"
    set_parameter(done, SEED, 5)
    assert plan_of(done, [])["train@gan"].action == "run"


def test_during_an_active_run(done: Path) -> None:
    """Older unused files are deleted; the run's results stay, though nothing names them yet."""
    shell(done, "git add -A && git commit -q -m done")
    set_parameter(done, SEED, 5)
    shell(done, "dvc repro -q")
    set_parameter(done, SEED, 6)
    objects = done / ".dvc/cache/files/md5"
    with active_run(done, {"select": {"seconds": 60}}) as process:
        wait_for(lambda: toy_diary(done, "select")[2:], 60.0)
        # Like a run whose results are in the cache before anything names them.
        (objects / "ab").mkdir(exist_ok=True)
        fresh = objects / "ab" / ("c" * 30)
        fresh.write_text("made just now")
        found = collect(done, dry_run=False)
        assert "a run is active" in found.notes[0]
        assert process.poll() is None
    # Of the abandoned seed, the training. dvc.lock names its selection until the new one is made.
    assert amounts(found)["run-cache"] == 1
    assert amounts(found)["out"] > 0
    assert fresh.is_file()
    trained = len(toy_diary(done, "train@gan"))
    shell(done, "dvc repro -q")
    assert len(toy_diary(done, "train@gan")) == trained
    left = amounts(collect(done, dry_run=False))
    assert left == {"out": 1, "run-cache": 1, "unknown origin": 1}


def test_nothing_is_deleted_if_the_files_in_use_are_unknown(home: Path, tmp_path: Path) -> None:
    tried = try_out(home, 7.0)
    path = home / ".dvc/cache/files/md5" / model_of(home)[:2] / model_of(home)[2:]
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-5])
    with pytest.raises(CollectError, match=r"listing of a folder in use is damaged.*genai data pull"):
        collect(home, dry_run=False)
    path.write_bytes(content)
    (home / "dvc.lock").write_text("<<<<<<< ours\n")
    with pytest.raises(GitError, match=r"dvc\.lock at .*home: expected a mapping"):
        collect(home, dry_run=False)
    shell(home, "git checkout -q dvc.lock")
    edit(home / "dvc.yaml", "stages:", "stages: [")
    assert genai(home, "gc").returncode == 2
    shell(home, "git checkout -q dvc.yaml")
    shutil.move(home / ".dvc/cache", tmp_path / "shared")
    shell(home, f"dvc cache dir -q --local {tmp_path / 'shared'}")
    with pytest.raises(CollectError, match="outside this repository's checkouts"):
        collect(home, dry_run=False)
    shutil.move(tmp_path / "shared", home / ".dvc/cache")
    (home / ".dvc/config.local").unlink()
    assert is_whole(home, tried)
    with pytest.raises(GitError):
        collect(tmp_path, dry_run=False)


# --- scratch ----------------------------------------------------------------------------------------------------------


def test_files_of_killed_commands_are_deleted_after_a_day(home: Path) -> None:
    own, cache = home / ".genai", home / ".dvc/cache"
    scratch = ["new/models-candidate/a", "compared/a", "diff/before/a", "fetched/a.zip", "drawn-12/a"]
    scratch += ["production/v0.0.1/params.yaml", "production/v0.0.2/samples/v0.0.2-5/images/1.png"]
    kept = ["checkpoints/train@gan-0123456789abcdef/step-1.pt", "cache/prepare/known", "compare/comparison.json"]
    kept += ["production/v0.0.2/params.yaml", "services.json", "worktrees/other/a", "logs/server.log", "watch.json"]
    for name in (*scratch, *kept):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text("four")
    half = [cache / "files/md5/.abc.tmp", cache / "files/md5" / model_of(home)[:2] / ".abc.tmp"]
    for path in half:
        path.write_text("four")
    found = amounts(collect(home, dry_run=True))
    assert found.keys() == {"models", "run-cache", "half written"}, "what was touched today may be in use"
    old = time.time() - 2 * 86400
    for path in own.rglob("*"):
        os.utime(path, (old, old))
    os.utime(own / "fetched/a.zip")
    collect(home, dry_run=False)
    left = {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()}
    assert left - {"run.lock", "retraining.lock", "change.lock", "gc.lock"} == {*kept, "fetched/a.zip"}
    assert not any(path.exists() for path in half)


def test_half_written_entry_of_the_run_cache_leaves_no_empty_folder(home: Path) -> None:
    """DVC raises an error for an empty folder there."""
    folder = home / ".dvc/cache/runs/ab" / ("ab" * 32)
    folder.mkdir(parents=True)
    (folder / ".x.tmp").write_text("four")
    assert amounts(collect(home, dry_run=False))["half written"] == 1
    assert not folder.exists()


def test_files_that_a_run_removes_meanwhile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = home / ".genai/compared/x"
    place.mkdir(parents=True)
    for name in ("a", "b"):
        (place / name).write_text("four")
    (home / ".genai/fetched").mkdir()
    (home / ".genai/other").mkdir()
    (home / ".genai/other/link").symlink_to(home)
    walk = scratch._walk

    def while_a_run_works(path: Path) -> list[Path]:
        found = list(walk(path))
        for item in found:
            if item.name in ("a", "link"):
                item.unlink()
        return found

    monkeypatch.setattr(scratch, "_walk", while_a_run_works)
    assert list(scratch.links_below(home)) == []
    assert scratch._size_of(home / ".genai/compared") == (1, 4)
    shutil.rmtree(home / ".genai/fetched")
    assert not scratch._is_untouched(home / ".genai/fetched")


def test_run_that_is_forgotten_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / ".genai/runs/20261128-101503-ab12/lock"
    monkeypatch.setattr(locks_module, "_locks", lambda _folder: [gone])
    with runs_blocked([tmp_path]) as since:
        assert since is None

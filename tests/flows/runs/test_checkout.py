"""A run in its own checkout: the cache is shared, the working tree unchanged, the results on a branch."""

import shutil
import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from prefect.states import Cancelled, Failed

from flows.git import GitError, git
from flows.process import start_keeper
from flows.runs.active_run import KEEPER
from flows.runs.checkout import (
    Worktree,
    branch_name,
    commit_results,
    data_worktree,
    home_of,
    open_detached,
    open_worktree,
    remove_worktree,
)
from flows.runs.pipeline import NotCompleted, run_stages
from flows.runs.record import CHECKOUT
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, diary, edit, set_parameter, shell

pytestmark = DVC_WARNS


def test_a_run_in_a_worktree_leaves_the_working_tree_unchanged(done: Path) -> None:
    shell(done, f"git add -A && git commit -q -m done && dvc remote add -q --local keys {done.parent / 'storage'}")
    edit(done / "params.yaml", "data:", "# somebody is at work here\ndata:")
    before = (done / "dvc.lock").read_bytes()
    branch = branch_name(date(2026, 11, 23), "v0.0.2")
    assert branch == "retrain/2026-11-23-v0.0.2"
    tree = open_worktree(done, "HEAD", branch)
    assert not tree.resumed
    assert "keys" in shell(tree.folder, "dvc remote list")
    assert commit_results(tree, "nothing was made") is None
    assert "up to date" in shell(done, "dvc status")  # the worktree inside is not part of it

    # Stages that do not depend on the new parameter are restored from the shared cache.
    set_parameter(tree.folder, "models.gan.training.seed", 5)
    shell(tree.folder, "git commit -q -a -m 'another seed' && dvc checkout -q data/raw.dvc && dvc repro -q")
    stages = ("prepare", "train@diffusion", "train@gan", "select")
    assert [len(diary(tree.folder, stage)) for stage in stages] == [0, 0, 1, 1]
    commit = commit_results(tree, "retrained")
    assert commit is not None
    title, *files = shell(done, f"git show --name-only --format=%s {commit}").split()
    assert title == "retrained"
    assert set(files) <= {"dvc.lock", "metrics/gan.json"}
    assert "dvc.lock" in files

    # Left by a kill, it is resumed with its files; no other checkout can have its branch meanwhile.
    (tree.folder / ".genai").mkdir(exist_ok=True)
    (tree.folder / ".genai/checkpoint").write_text("half done")
    again = open_worktree(done, "HEAD", branch)
    assert again == Worktree(tree.folder, tree.folder, branch, resumed=True)
    assert (again.folder / ".genai/checkpoint").read_text() == "half done"
    with pytest.raises(GitError, match="already"):
        git(done, "worktree", "add", str(done.parent / "elsewhere"), branch)

    remove_worktree(done, again.folder)
    assert not tree.folder.exists()
    assert (done / "dvc.lock").read_bytes() == before
    assert shell(done, "git status --porcelain").split() == ["M", "params.yaml"]
    assert shell(done, f"git rev-parse {branch}").strip() == commit

    # The branch continues from its end, also after an incomplete worktree.
    tree.folder.mkdir(parents=True)
    (tree.folder / "ruin").write_text("")
    third = open_worktree(done, "HEAD", branch)
    assert shell(third.folder, "git rev-parse HEAD").strip() == commit
    assert not (third.folder / "ruin").exists()
    shutil.rmtree(third.folder)  # and if somebody removed the folder
    assert shell(open_worktree(done, "HEAD", branch).folder, "git rev-parse HEAD").strip() == commit


def test_a_relative_remote_is_the_same_in_a_checkout(done: Path) -> None:
    shell(done, "dvc remote add -q -d store ../store && git add -A && git commit -q -m store")
    shell(done, "dvc remote modify -q --local store verify true")
    tree = open_worktree(done, "HEAD", "retrain/x")
    shell(tree.folder, "dvc checkout -q select prepare && dvc push -q select prepare")
    assert (done.parent / "store" / "files").is_dir()
    assert "verify = true" in (tree.folder / ".dvc" / "config.local").read_text()
    assert shell(tree.folder, "git status --porcelain") == ""


@pytest.mark.parametrize("version", ["", "a b", "../x", "a..b", ".a", "a.", "a.lock", "-a", "a~1", "a:b", "x" * 70])
def test_invalid_names_are_refused(version: str) -> None:
    with pytest.raises(ValueError, match="version"):
        branch_name(date(2026, 11, 23), version)


def test_a_missing_commit(done: Path) -> None:
    with pytest.raises(GitError, match="git knows no commit 'nothing'"):
        open_worktree(done, "nothing", "retrain/x")


def test_a_checkout_left_by_a_killed_git(done: Path) -> None:
    """git locks it until it is complete, and `prune` keeps locked worktrees."""
    folder = open_detached(done, "HEAD", done / ".genai/runs/one/checkout")
    (registered,) = (done / ".git/worktrees").iterdir()
    (registered / "locked").write_text("initializing")
    (folder / ".git").unlink()
    remove_worktree(done, folder)
    assert len(shell(done, "git worktree list").splitlines()) == 1
    assert not folder.exists()
    remove_worktree(done, folder)  # and again, without a folder


@pytest.mark.parametrize("late", [False, True])
def test_the_keeper_of_a_killed_run(done: Path, late: bool) -> None:
    """late: an orphaned git creates the checkout only now."""
    folder = done / ".genai/runs/one"
    folder.mkdir(parents=True)
    cache, outputs = done / ".dvc/cache/files/md5", done / "out/train"
    trial, link, large = cache / ".some-letters.tmp", outputs / ".others.tmp", cache / ".large.tmp"
    trial.write_bytes(b"test")  # as a killed DVC leaves it
    link.symlink_to(trial)
    large.write_bytes(b"somebody fetches this")
    keeper = start_keeper(KEEPER, str(done), str(folder), str(cache), str(outputs))
    if not late:
        open_detached(done, "HEAD", folder / CHECKOUT)
    assert keeper.stdin is not None
    keeper.stdin.close()
    if late:
        time.sleep(0.5)
        with suppress(GitError):  # the keeper may be faster
            git(done, "worktree", "add", "--quiet", "--detach", str(folder / CHECKOUT), "HEAD")
    assert keeper.wait(20.0) == 0
    assert not trial.exists()
    assert not link.is_symlink()
    assert large.exists()
    assert not (folder / CHECKOUT).exists()
    assert len(shell(done, "git worktree list").splitlines()) == 1


def test_a_data_worktree_has_one_user_and_is_kept_after_an_error(done: Path) -> None:
    def fail_in() -> None:
        with data_worktree(done, "HEAD", "HEAD", "evaluate/one") as tree:
            (tree / "half").write_text("done")
            raise NotCompleted(Failed(message="no"))

    with pytest.raises(NotCompleted):
        fail_in()
    with data_worktree(done, "HEAD", "HEAD", "evaluate/one") as tree:
        assert (tree / "half").read_text() == "done"
        with pytest.raises(ConfigError, match=r"evaluate-one: another process works there"):
            fail_in()
        assert tree.is_dir()
        with data_worktree(done, "HEAD", "HEAD", "evaluate/two") as other:
            assert other != tree
    assert not tree.exists()


def test_stages_that_did_not_complete_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a return, which would remove the checkout."""
    state = Cancelled(message="stopped")
    monkeypatch.setattr("flows.runs.pipeline.pipeline", lambda *_, **__: state)
    with pytest.raises(NotCompleted, match="stopped") as caught:
        run_stages(tmp_path, ["prepare"])
    assert caught.value.state is state


def test_an_empty_note_of_the_home_is_none(tmp_path: Path) -> None:
    (tmp_path / ".genai").mkdir()
    (tmp_path / ".genai/home").write_text("")
    assert home_of(tmp_path) is None


def test_the_keeper_of_an_ended_run_ends_at_once(done: Path) -> None:
    folder = done / ".genai/runs/one"
    folder.mkdir(parents=True)
    keeper = start_keeper(KEEPER, str(done), str(folder))
    keeper.communicate(b"over", timeout=20.0)
    assert keeper.returncode == 0


def test_a_users_worktree_on_an_unmounted_disk_is_kept(done: Path, tmp_path: Path) -> None:
    """Removing a run's checkout must not remove git's record of a worktree whose folder is absent for a while."""
    elsewhere, unmounted = tmp_path / "elsewhere", tmp_path / "unmounted"
    shell(done, f"git worktree add -q --detach {elsewhere}")
    shell(elsewhere, "git commit -q --allow-empty -m theirs")
    commit = shell(elsewhere, "git rev-parse HEAD")
    elsewhere.rename(unmounted)
    for whole in (True, False):
        folder = open_detached(done, "HEAD", done / ".genai/worktrees/ours")
        if not whole:
            shutil.rmtree(folder)
        remove_worktree(done, done / ".genai/worktrees/ours")
    unmounted.rename(elsewhere)
    assert shell(elsewhere, "git rev-parse HEAD") == commit
    assert shell(done, "git worktree list").count("\n") == 2

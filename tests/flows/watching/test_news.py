"""New data: production's data compared with this branch, the git remote and a growing folder."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from flows.git import GitError
from flows.registry.promotion import promote
from flows.watching.arrivals import add_arrivals, arrivals
from flows.watching.folder import WatchError, is_settled, look_at
from flows.watching.news import look, newest_data, production_data, read_memory, remember_announced
from tests.flows.conftest import ended, genai, set_parameter, shell, started_genai, wait_for
from tests.flows.model_home import git_remote, make, new_home


@pytest.fixture(scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a model in production."""
    home = new_home(tmp_path_factory.mktemp("template") / "home")
    make(home, 3.0)
    promote(home, lambda _workspace, _commit: None)
    return home


@pytest.fixture
def home(_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_home, tmp_path / "home", symlinks=True))


def grow(home: Path) -> str:
    """Add a raw file, track and commit it. Return the new version."""
    (home / "data/raw/more.txt").write_text(f"more {time.time()}")
    shell(home, "dvc add -q data/raw && git add -A && git commit -q -m more")
    return newest_data(home).raw or ""


def test_new_data_are_announced_once(home: Path) -> None:
    before = look(home)
    assert (before.production, before.is_new, before.old) == ("v0.0.1", False, before.new)
    assert before.sentence().startswith("nothing new: v0.0.1, in production, was trained on data version")
    new = grow(home)
    news = look(home)
    assert (news.is_new, news.old, news.new) == (True, before.old, new)
    assert news.sentence() == (
        f"data version {new[:10]} (this checkout); v0.0.1, in production, was trained on {before.old[:10]}"
    )
    now = time.time()
    assert not read_memory(home).is_announced(news, 24.0, now)
    remember_announced(home, news)
    assert read_memory(home).is_announced(news, 24.0, now + 23 * 3600)
    assert not read_memory(home).is_announced(news, 24.0, now + 25 * 3600)
    (home / "data/raw/another.txt").write_text("not committed yet")
    shell(home, "dvc add -q data/raw")
    assert (look(home).is_new, look(home).where) == (True, "the working tree")
    assert look(home).new not in (news.new, news.old)
    grow(home)  # other news
    assert not read_memory(home).is_announced(look(home), 24.0, now)
    (home / ".genai/watch.json").write_text('{"cut')
    assert not read_memory(home).is_announced(news, 24.0, now)


def test_data_without_production_are_news_and_no_data_are_not(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    shell(home, "git add -A && git commit -q -m data")
    assert production_data(home) == ("", "")
    assert look(home).is_new
    assert look(home).sentence().endswith("and nothing is in production yet")
    shell(home, "git rm -q --cached data/raw.dvc && git commit -q -m none")
    (home / "data/raw.dvc").unlink()
    assert (look(home).is_new, look(home).sentence()) == (
        False,
        "there is no data yet; add some: genai data add SOURCE",
    )


def test_new_data_at_the_git_remote_are_found_without_a_download(home: Path) -> None:
    git_remote(home)
    other = home.parent / "other"
    shell(home.parent, f"git clone -q origin.git {other}")
    shell(other, f"dvc remote add -q -d nowhere {home.parent / 'nowhere'}")
    (other / "data/raw").mkdir()
    (other / "data/raw/new.txt").write_text("new")
    shell(other, "dvc add -q data/raw && git add -A && git commit -q -m grown && git push -q")
    objects = sorted(path.name for path in (home / ".dvc/cache").rglob("*"))
    news = look(home)
    assert (news.is_new, news.where, news.faults) == (True, "origin/main", ())
    assert news.new == newest_data(other).raw
    assert sorted(path.name for path in (home / ".dvc/cache").rglob("*")) == objects
    # This checkout continues alone: the remote is behind, and then both have grown.
    shell(home, "git pull -q --rebase origin main")
    mine = grow(home)
    assert (look(home).new, look(home).where, look(home).faults) == (mine, "this checkout", ())
    shell(other, "git commit -q --allow-empty -m more && git push -q")
    news = look(home)
    assert (news.new, news.where) == (mine, "this checkout")
    why = "main and origin/main have diverged, by 1 and 1 commits, so only this checkout counts; merge them: git pull"
    assert news.faults == (why,)


def test_unreachable_remote_is_only_a_warning(home: Path) -> None:
    shell(home, "git remote add origin /nowhere/at-all.git")
    new = grow(home)
    news = look(home)
    assert news.new == new
    assert len(news.faults) == 1
    assert news.faults[0].startswith("the git remote could not be queried: `git ls-remote`")
    with pytest.raises(GitError, match="no git repository"):
        look(home.parent)


def test_stamp_identifies_the_state_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat/1.png").write_text("1")
    first = look_at(str(folder), tmp_path)
    assert (first.files, look_at("in", tmp_path)) == (1, first)
    (folder / "cat/2.png").write_text("2")
    second = look_at("in", tmp_path)
    assert (second.files, second.stamp != first.stamp) == (2, True)
    os.utime(folder / "cat/2.png", (0, 0))
    third = look_at("in", tmp_path)
    assert third.stamp != second.stamp
    # A copy that keeps old times has arrived only now: the inode's time says so.
    assert not is_settled(third, 60.0, time.time())
    assert is_settled(third, 60.0, third.changed_at + 60.0)
    assert is_settled(third, 60.0, third.changed_at - 3600.0), "another machine's clock is no reason to wait for ever"
    (folder / "cat/loop").symlink_to(folder)  # a link to a folder is not followed
    (folder / "cat/dangling").symlink_to("nowhere")
    assert look_at("in", tmp_path).files == 2


def test_files_that_move_during_a_check(tmp_path: Path) -> None:
    """A listed file that is gone when it is examined: something is writing there, so nothing is added yet."""
    folder, away = tmp_path / "in/deep", tmp_path / "away"
    for number in range(300):
        path = folder / str(number % 30) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    time.sleep(0.1)
    first, ended = look_at("in", tmp_path), threading.Event()

    def move() -> None:
        while not ended.is_set():
            for number in range(30):
                os.rename(folder / str(number), away)
                os.rename(away, folder / str(number))

    thread = threading.Thread(target=move)
    thread.start()
    try:
        deadline, found = time.monotonic() + 20.0, first
        while found.changed_at == first.changed_at and time.monotonic() < deadline:
            found = look_at("in", tmp_path)
    finally:
        ended.set()
        thread.join()
    assert found.files < 300
    assert not is_settled(found, 60.0, time.time())
    assert look_at("in", tmp_path) == first


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_unreadable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "in/closed").mkdir(parents=True)
    (tmp_path / "in/closed").chmod(0)
    with pytest.raises(WatchError, match=r"in/closed cannot be read: Permission denied"):
        look_at("in", tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://bucket/images", "only a local folder or file can be watched"),
        ("missing", "no such folder or file; is it mounted?"),
        ("data/raw/cats", "is inside data/raw"),
        ("data/raw", "is inside data/raw"),
    ],
)
def test_sources_that_cannot_be_watched(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(WatchError, match=message):
        look_at(source, tmp_path)


def test_new_images_are_added_and_nothing_else_is_committed(done: Path, digits_folder: Path) -> None:
    source = str(digits_folder)
    shell(done, "git add -A && git commit -q -m done")
    (done / "dvc.yaml").write_text((done / "dvc.yaml").read_text() + "\n# somebody's work\n")
    set_parameter(done, "data.image_size", 20)
    found = arrivals(done, source, 0.0)
    assert found is not None
    assert found.can_be_added
    said = add_arrivals(done, found, "digits")
    assert said.endswith(", committed")
    assert shell(done, "git show --name-only --format=%s HEAD").split("\n\n") == [
        f"Data: {source} has grown",
        "data/raw.dvc\n",
    ]
    assert shell(done, "git status --porcelain").split() == ["M", "dvc.yaml", "M", "params.yaml"]
    again = arrivals(done, source, 0.0)
    assert again is not None
    assert not again.can_be_added
    assert "unchanged since they were last added" in again.sentence()
    busy = arrivals(done, source, 1e9)
    assert busy is not None
    assert not busy.settled


def test_command_without_a_server(done: Path) -> None:
    answer = genai(done, "watch", "--once")
    assert answer.returncode == 3, answer.stderr
    assert "nothing is in production yet" in answer.stdout
    assert "no event was emitted, because no Prefect server is configured or running" in answer.stdout
    answer = genai(done, "watch", "--once", "--source", "nowhere")
    assert answer.returncode == 2
    assert "no such folder or file" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_command_adds_repeatedly_and_continues_after_errors(done: Path, digits_folder: Path, tmp_path: Path) -> None:
    shell(done, "git add -A && git commit -q -m done")
    before = shell(done, "git rev-parse HEAD")
    incoming = Path(shutil.copytree(digits_folder, tmp_path / "incoming"))
    set_parameter(done, "watch.settle_s", 0.0)
    looks = ("watch", "--every", "1", "--source", str(incoming), "--add")
    with started_genai(done, *looks) as process:
        wait_for(lambda: shell(done, "git rev-parse HEAD") != before)
        incoming.rename(tmp_path / "unmounted")
        assert process.stdout is not None
        for line in process.stdout:
            if "no such folder or file; is it mounted?; the next check retries" in line:
                break
        (tmp_path / "unmounted").rename(incoming)
        shutil.copy(incoming / "a/0.png", incoming / "a/new.png")
        added = shell(done, "git rev-parse HEAD")
        wait_for(lambda: shell(done, "git rev-parse HEAD") != added)
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small images in two classes."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("arrived")
    for number in range(4):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), 60 * number).save(path)
    return folder

"""Push, pull and verify with the real DVC and a folder as the remote."""

import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.data.objects import RemoteError
from flows.data.remote import pull, push, verify
from flows.data.sizes import MIN_LISTED
from flows.data.stores import add_default_remote, keep_indexes_private
from flows.graph import GraphError, open_repo
from tests.flows.clones import add_many, contents, fresh_clone
from tests.flows.conftest import DVC_WARNS, ended, genai, shell, started_genai, wait_for

pytestmark = DVC_WARNS

# Enough that a push can be killed in its middle.
MANY = 700


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def pushed(done: Path, store: Path) -> Path:
    """A toy workspace that is up to date, committed and pushed to `store`."""
    add_default_remote(done, str(store))
    push(done)
    shell(done, "git add -A && git commit -q -m run")
    return done


def objects_in(folder: Path) -> list[Path]:
    """The objects in a store or a cache, without temporary files of a killed copy."""
    return [path for path in folder.glob("files/md5/??/*") if len(path.name) in (30, 34)]


def object_of(store: Path, workspace: Path, path: str) -> Path:
    """The object of a file in data/raw at a folder remote."""
    md5 = shell(workspace, f"md5sum {path}").split()[0]
    return store / "files" / "md5" / md5[:2] / md5[2:]


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_secrets_of_an_address_are_in_no_tracked_file_or_message(fresh: Path) -> None:
    location = "http://me:token@127.0.0.1:9/store?sig=token"
    answer = genai(fresh, "data", "push", "--to", location)
    assert answer.returncode == 2
    assert "http://127.0.0.1:9/store: " in answer.stderr
    assert "token" not in answer.stdout + answer.stderr
    assert "url = http://127.0.0.1:9/store\n" in (fresh / ".dvc/config").read_text()
    shell(fresh, "git add -A && git commit -q -m remote")
    assert "token" not in shell(fresh, "git show HEAD:.dvc/config && git show --stat HEAD")
    with open_repo(fresh) as repo:
        assert repo.config["remote"]["storage"]["url"] == location
    assert not add_default_remote(fresh, "http://127.0.0.1:9/store"), "known, and what lets in stays"
    with open_repo(fresh) as repo:
        assert repo.config["remote"]["storage"]["url"] == location
    with pytest.raises(RemoteError, match="the remote 'storage' already exists") as error:
        add_default_remote(fresh, "http://me:other@127.0.0.1:9/other")
    assert "token" not in str(error.value)
    assert add_default_remote(fresh, "http://127.0.0.1:9/store?sig=newer")
    with open_repo(fresh) as repo:
        assert repo.config["remote"]["storage"]["url"].endswith("sig=newer")


def test_fresh_clone_has_the_same_bytes_and_nothing_to_run(pushed: Path, store: Path, tmp_path: Path) -> None:
    clone = fresh_clone(pushed, tmp_path / "clone")
    done = pull(clone)
    assert contents(clone) == contents(pushed)
    assert done.fetched == done.objects == len(objects_in(store))
    assert done.missing == ()
    assert "data/raw" in done.changed

    again = pull(clone)
    assert (again.fetched, again.changed) == (0, ())
    answer = genai(clone, "plan")
    assert last_line(answer.stdout) == "5 stages: 5 to keep", answer.stdout + answer.stderr


def test_run_cache_restores_earlier_runs(pushed: Path, tmp_path: Path) -> None:
    lock = (pushed / "dvc.lock").read_text()
    shell(pushed, "sed -i s/fd_classifier/is_classifier/ params.yaml && dvc repro -q && git add -A")
    shell(pushed, "git commit -q -m second")
    assert (pushed / "dvc.lock").read_text() != lock
    assert push(pushed, run_cache=True).runs > 0
    clone = fresh_clone(pushed, tmp_path / "clone")
    pull(clone, run_cache=True)
    shell(clone, "sed -i s/is_classifier/fd_classifier/ params.yaml")
    assert last_line(genai(clone, "plan").stdout) == "5 stages: 1 to restore, 4 to keep"


def test_run_whose_outputs_are_gone_is_not_pushed(pushed: Path, store: Path) -> None:
    shell(pushed, "sed -i s/fd_classifier/is_classifier/ params.yaml && dvc repro -q && git checkout -q .")
    entries = {path for path in (pushed / ".dvc/cache/runs").rglob("*") if path.is_file()}
    gone = next(path for path in entries if "is_classifier" in path.read_text())
    md5 = gone.read_text().split("outs:")[1].split("md5: ")[1].split()[0]
    (pushed / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    assert push(pushed, run_cache=True).runs == len(entries) - 1
    sent = {path.relative_to(store) for path in (store / "runs").rglob("*") if path.is_file()}
    assert sent == {path.relative_to(pushed / ".dvc/cache") for path in entries - {gone}}


def test_empty_folder_is_an_output_like_any_other(fresh: Path, store: Path) -> None:
    (fresh / "nothing").mkdir()
    shell(fresh, "dvc add -q nothing")
    add_default_remote(fresh, str(store))
    push(fresh)
    assert verify(fresh).faults == ()


def test_interrupted_and_killed_pushes_continue(fresh: Path, store: Path) -> None:
    add_many(fresh, MANY)
    add_default_remote(fresh, str(store))
    with started_genai(fresh, "data", "push") as process:
        wait_for(lambda: len(objects_in(store)) > 20)
        process.send_signal(signal.SIGINT)
        status, output = ended(process)
    assert (status, output.strip()) == (130, "interrupted")
    before = len(objects_in(store))
    with started_genai(fresh, "data", "push") as process:
        wait_for(lambda: len(objects_in(store)) > before)
        process.send_signal(signal.SIGKILL)
        process.wait(10.0)
    there = len(objects_in(store))
    assert 20 < there < MANY, "the push was not killed in its middle"
    assert not list(store.glob("files/md5/??/*.dir")), "a listing says that all its files are there"
    found = verify(fresh)
    assert len(found.faults) == found.objects - there

    done = push(fresh)
    assert done.sent == done.objects - there
    assert verify(fresh, content=True).faults == ()
    assert len(objects_in(store)) == done.objects


def test_push_completes_an_interrupted_push_of_dvc(fresh: Path, store: Path) -> None:
    """DVC's index says that everything is there, and so does a later push of DVC."""
    add_default_remote(fresh, str(store))
    shell(fresh, "dvc push -q")
    lost = object_of(store, fresh, "data/raw/1.txt")
    lost.unlink()
    assert "up to date" in shell(fresh, "dvc push")
    assert push(fresh).sent == 1
    assert lost.read_text() == "image 1"


def test_lost_object_is_named_and_sent_again(pushed: Path, store: Path) -> None:
    lost = object_of(store, pushed, "data/raw/1.txt")
    lost.unlink()
    short = object_of(store, pushed, "data/raw/2.txt")
    overwrite(short, b"im")
    answer = genai(pushed, "data", "verify")
    assert answer.returncode == 1
    assert "data/raw/1.txt" in answer.stdout
    assert "missing" in answer.stdout
    assert "2 bytes instead of 7" in answer.stdout
    assert "genai data push" in answer.stdout

    assert push(pushed).sent == 2
    assert verify(pushed, content=True).faults == ()


def test_sizes_are_checked_without_a_cache(pushed: Path, store: Path, tmp_path: Path) -> None:
    clone = fresh_clone(pushed, tmp_path / "clone")
    assert verify(clone).faults == ()
    overwrite(object_of(store, pushed, "data/raw/2.txt"), b"im")
    faults = verify(clone).faults
    assert [fault.path for fault in faults] == ["data/raw"]
    assert "16 bytes in total instead of 21" in faults[0].what
    assert not objects_in(clone / ".dvc" / "cache"), "it only looks"


def test_damaged_object_never_enters_the_cache(pushed: Path, store: Path, tmp_path: Path) -> None:
    damaged = object_of(store, pushed, "data/raw/2.txt")
    overwrite(damaged, b"iMage 2")
    assert verify(pushed).faults == ()
    [fault] = verify(pushed, content=True).faults
    assert (fault.path, fault.what) == ("data/raw/2.txt", "damaged: wrong content")

    clone = fresh_clone(pushed, tmp_path / "clone")
    with pytest.raises(RemoteError, match=r"data/raw/2\.txt .* damaged.*push --content"):
        pull(clone)
    assert not (clone / "data" / "raw").exists()
    assert object_of(clone / ".dvc" / "cache", pushed, "data/raw/1.txt").is_file()
    assert not object_of(clone / ".dvc" / "cache", pushed, "data/raw/2.txt").exists()
    assert not (clone / ".dvc" / "tmp" / "incoming").exists()

    assert push(pushed, content=True).sent == 1
    pull(clone)
    assert contents(clone) == contents(pushed)


def test_damaged_listing_is_detected(pushed: Path, store: Path, tmp_path: Path) -> None:
    clone = fresh_clone(pushed, tmp_path / "clone")
    for listing in store.glob("files/md5/??/*.dir"):
        overwrite(listing, b"[]")
    assert {fault.what for fault in verify(clone).faults} == {"damaged: not a folder listing"}
    with pytest.raises(RemoteError, match="damaged"):
        pull(clone)
    push(pushed)
    pull(clone)
    assert contents(clone) == contents(pushed)


@contextmanager
def served(store: Path, *, tells_length: bool = True) -> Iterator[str]:
    """A folder as HTTP remote, on a server that lists no folders, and tells a file's length only if it is to."""

    class Handler(SimpleHTTPRequestHandler):
        def list_directory(self, path: object) -> None:  # noqa: ARG002 - as http.server calls it
            self.send_error(403)

        def send_header(self, keyword: str, value: str) -> None:
            if tells_length or keyword != "Content-Length":
                super().send_header(keyword, value)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(store))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_many_objects_at_a_web_server_without_listings(fresh: Path, store: Path) -> None:
    add_many(fresh, MIN_LISTED)
    add_default_remote(fresh, str(store))
    push(fresh)
    lost = object_of(store, fresh, "data/raw/1.txt")
    lost.unlink()
    with served(store) as url:
        shell(fresh, f"dvc remote add -q web {url}")
        found = verify(fresh, "web")
    assert [fault.path for fault in found.faults] == ["data/raw/1.txt"]


def test_web_server_that_does_not_tell_the_length(fresh: Path, store: Path) -> None:
    add_default_remote(fresh, str(store))
    push(fresh)
    short = object_of(store, fresh, "data/raw/1.txt")
    overwrite(short, short.read_bytes()[:-1])
    with served(store, tells_length=False) as url:
        shell(fresh, f"dvc remote add -q web {url}")
        found = verify(fresh, "web")
    assert [(fault.path, "bytes instead of" in fault.what) for fault in found.faults] == [("data/raw/1.txt", True)]


def test_pull_lists_missing_objects_and_fetches_the_rest(pushed: Path, store: Path, tmp_path: Path) -> None:
    object_of(store, pushed, "data/raw/1.txt").unlink()
    clone = fresh_clone(pushed, tmp_path / "clone")
    answer = genai(clone, "data", "pull")
    assert answer.returncode == 1
    assert "not at the remote: data/raw/1.txt" in answer.stderr
    assert not (clone / "data" / "raw").exists()
    assert (clone / "out" / "selected").exists()


def test_damaged_object_in_the_cache_is_not_sent(fresh: Path, store: Path) -> None:
    overwrite(object_of(fresh / ".dvc" / "cache", fresh, "data/raw/1.txt"), b"iMage 1")
    add_default_remote(fresh, str(store))
    with pytest.raises(RemoteError, match=r"data/raw/1\.txt: damaged in DVC's cache"):
        push(fresh)
    object_of(fresh / ".dvc" / "cache", fresh, "data/raw/1.txt").unlink()
    with pytest.raises(RemoteError, match=r"neither in DVC's cache here nor complete at .*data/raw/1\.txt"):
        push(fresh)


def test_pull_does_not_overwrite_unsaved_changes(pushed: Path) -> None:
    (pushed / "data" / "raw" / "new.txt").write_text("not yet added")
    with pytest.raises((RemoteError, GraphError), match=r"new\.txt"):
        pull(pushed)
    assert (pushed / "data" / "raw" / "new.txt").read_text() == "not yet added"


def test_other_revisions(pushed: Path, store: Path) -> None:
    (pushed / "data" / "raw" / "0.txt").unlink()
    shell(pushed, "dvc add -q data/raw && git add -A && git commit -q -m less")
    push(pushed)
    object_of(store, pushed, "data/raw/1.txt")
    for path in objects_in(store):
        if path.read_bytes() == b"image 0":
            path.unlink()
    assert verify(pushed).faults == ()
    assert [fault.path for fault in verify(pushed, revision="HEAD~1").faults] == ["data/raw/0.txt"]
    assert [fault.path for fault in verify(pushed, all_commits=True).faults] == ["data/raw/0.txt"]
    with pytest.raises((RemoteError, GraphError), match="no-such"):
        verify(pushed, revision="no-such")


def test_errors_of_remotes_are_one_line(fresh: Path) -> None:
    with pytest.raises(RemoteError, match=r"there is no remote yet; .*push --to"):
        push(fresh)
    with pytest.raises(RemoteError, match="unknown remote 'x'; available: none"):
        push(fresh, "x")
    shell(fresh, "dvc remote add one /one && dvc remote add two /two")
    with pytest.raises(RemoteError, match="choose one with -r: one, two"):
        push(fresh)
    answer = genai(fresh, "data", "push")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)


def test_location_becomes_the_default_remote(fresh: Path, store: Path) -> None:
    answer = genai(fresh, "data", "push", "--to", str(store))
    assert answer.returncode == 0, answer.stderr
    assert ": 4 objects sent (" in answer.stdout
    assert shell(fresh, "dvc remote default").strip() == "storage"
    with pytest.raises(RemoteError, match="the remote 'storage' already exists"):
        add_default_remote(fresh, "/elsewhere")


def test_indexes_are_private(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_indexes_private(fresh)
    assert not (fresh / ".dvc" / "config.local").exists(), "one is configured, by the environment"
    monkeypatch.delenv("DVC_SITE_CACHE_DIR")
    keep_indexes_private(fresh)
    with open_repo(fresh) as repo:
        assert Path(repo.site_cache_dir).is_relative_to(fresh / ".dvc" / "tmp" / "site")
    assert stat.S_IMODE((fresh / ".dvc" / "tmp" / "site").stat().st_mode) == 0o700

"""Single outputs to a remote and back: whole or in part, each object checked, through a short outage."""

import shutil
from pathlib import Path

import pytest

from flows.data import outputs
from flows.data.objects import RemoteError, unreachable
from flows.data.outputs import Moved, StoredOutput, cached_bytes, fetch_outputs, patiently, send_outputs
from flows.data.stores import add_default_remote, opened_remote
from tests.flows.conftest import DVC_WARNS, shell

pytestmark = DVC_WARNS


@pytest.fixture
def raw(fresh: Path) -> StoredOutput:
    """The images of a workspace whose remote has nothing yet."""
    add_default_remote(fresh, str(fresh.parent / "store"))
    return StoredOutput("data/raw", shell(fresh, "cat data/raw.dvc").split("md5: ")[1].split()[0])


def objects(folder: Path) -> set[str]:
    return {path.parent.name + path.name for path in (folder / "files" / "md5").glob("??/*")}


def lose_cache(workspace: Path) -> None:
    shutil.rmtree(workspace / ".dvc/cache/files")


def test_there_and_back_and_in_part(fresh: Path, raw: StoredOutput) -> None:
    cache, store = fresh / ".dvc/cache", fresh.parent / "store"
    with opened_remote(fresh, None) as (repo, remote):
        assert send_outputs(repo, remote, [raw]).objects == 4  # three files and their listing
        assert send_outputs(repo, remote, [raw]) == Moved(0, 0)
        everything = objects(cache)
        assert objects(store) == everything
        lose_cache(fresh)
        part = StoredOutput(raw.path, raw.oid, parts=("1.txt",))
        assert fetch_outputs(repo, remote, [part]).objects == 2
        cached = [cached_bytes(repo.cache.local, output) for output in (part, raw)]
        assert cached == [len("image 1")] * 2  # of the whole folder, no other file is there
        assert fetch_outputs(repo, remote, [raw]).objects == 2
        assert objects(cache) == everything


def test_a_damaged_or_missing_object_is_no_success(fresh: Path, raw: StoredOutput) -> None:
    store = fresh.parent / "store"
    with opened_remote(fresh, None) as (repo, remote):
        send_outputs(repo, remote, [raw])
        victim = next(path for path in (store / "files/md5").glob("??/*") if path.suffix != ".dir")
        victim.chmod(0o644)
        victim.write_bytes(victim.read_bytes()[::-1])
        lose_cache(fresh)
        with pytest.raises(RemoteError, match="damaged: wrong content"):
            fetch_outputs(repo, remote, [raw])
        victim.unlink()
        with pytest.raises(RemoteError, match=r"data/raw/\d\.txt \(\w+\) missing"):
            fetch_outputs(repo, remote, [raw])
        with pytest.raises(RemoteError, match="neither in DVC's cache here nor complete"):
            send_outputs(repo, remote, [raw])


def test_a_short_outage(fresh: Path, raw: StoredOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "WAITS_S", (0.0, 0.0))
    store, said = fresh.parent / "store", list[str]()
    (store / "files").mkdir(parents=True)
    (store / "files" / "md5").write_text("a file where a folder should be")

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            (store / "files" / "md5").unlink()

    with opened_remote(fresh, None) as (repo, remote):
        assert patiently(lambda: send_outputs(repo, remote, [raw]), say).objects == 4
    assert [text.rpartition("; ")[2] for text in said] == ["trying again in 0 s"] * 2


def test_who_may_not_write_is_told_what_tries_it(fresh: Path) -> None:
    add_default_remote(fresh, str(fresh.parent / "store"))
    with opened_remote(fresh, None) as (_repo, remote):
        denied, away = (str(unreachable(remote, kind("no"))) for kind in (PermissionError, ConnectionError))
    assert away == f"{fresh.parent / 'store'}: no (ConnectionError)"
    assert denied.endswith("no (PermissionError); `genai doctor --worker` tries what this machine may do there")

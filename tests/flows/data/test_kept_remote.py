"""A remote that stays open: for one thread, and for many."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from flows.data import kept_remote
from flows.data.kept_remote import KeptRemote, SharedRemote
from flows.data.objects import RemoteError, UnreachableError
from flows.data.stores import add_default_remote, opened_remote
from tests.flows.conftest import DVC_WARNS

pytestmark = DVC_WARNS


@pytest.fixture
def opened(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that have opened the remote, once for each time."""
    add_default_remote(fresh, str(fresh.parent / "store"))
    found, real = list[int](), opened_remote

    def counted(folder: Path, remote: str | None):  # type: ignore[no-untyped-def]
        found.append(threading.get_ident())
        return real(folder, remote)

    monkeypatch.setattr(kept_remote, "opened_remote", counted)
    return found


def test_a_remote_is_opened_once_and_again_after_it_did_not_answer(fresh: Path, opened: list[int]) -> None:
    def fails(*_: object) -> None:
        raise UnreachableError("away")

    with closing(KeptRemote(fresh)) as remote:
        assert opened == []
        first, second = (remote.use(lambda _, store: store) for _ in range(2))
        assert first is second
        assert str(first.path).startswith(str(fresh.parent / "store"))
        with pytest.raises(UnreachableError):
            remote.use(fails)
        assert remote.use(lambda _, store: store) is not first
    assert len(opened) == 2


def test_threads_share_a_few_open_remotes(fresh: Path, opened: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_remote, "MAX_THREADS", 2)
    both = threading.Barrier(2, timeout=20.0)

    def waits_for_another(*_: object) -> int:
        both.wait()
        return threading.get_ident()

    with closing(SharedRemote(fresh)) as remote, ThreadPoolExecutor(4) as threads:
        used = list(threads.map(lambda _: remote.use(waits_for_another), range(4)))
        assert (len(set(used)), sorted(set(used))) == (2, sorted(opened))
        with pytest.raises(RemoteError, match="lost"):
            remote.use(lambda *_: (_ for _ in ()).throw(RemoteError("lost")))
        assert remote.use(lambda *_: threading.get_ident()) in used
    assert not {thread.ident for thread in threading.enumerate()} & set(used)

"""Checkpoints at the remote: the newest is there, two are kept, another machine goes on from them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.data.objects import UnreachableError
from flows.data.stores import add_default_remote, opened_remote
from flows.executors.checkpoints import POLL_S, RemoteCheckpoints
from tests.flows.conftest import DVC_WARNS, wait_for

pytestmark = DVC_WARNS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def checkpoints(fresh: Path, folder: Path) -> Iterator[RemoteCheckpoints]:
    add_default_remote(fresh, str(fresh.parent / "store"))
    with opened_remote(fresh, None) as (_, store):
        yield RemoteCheckpoints(store, "key", folder)


def save(folder: Path, number: int) -> None:
    """As a training does: the last two stay."""
    run = folder / "train-0123"
    run.mkdir(parents=True, exist_ok=True)
    (run / f"step-{number}.pt").write_text(f"state {number}")
    for old in sorted(run.glob("step-*.pt"))[:-2]:
        old.unlink()


def there(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "genai/checkpoints/key").rglob("*.pt"))


def test_the_last_two_are_at_the_remote_and_elsewhere(
    fresh: Path, folder: Path, checkpoints: RemoteCheckpoints
) -> None:
    store = fresh.parent / "store"
    checkpoints.send()  # there are none yet
    for number in range(1, 5):
        save(folder, number)
        checkpoints.send()
    (folder / "train-0123" / ".new-17").write_text("half a")
    checkpoints.send()
    assert there(store) == ["step-3.pt", "step-4.pt"]
    elsewhere = RemoteCheckpoints(checkpoints._files._store, "key", fresh.parent / "elsewhere")
    assert (elsewhere.fetch(), elsewhere.fetch()) == (2, 0)
    assert (fresh.parent / "elsewhere/train-0123/step-4.pt").read_text() == "state 4"
    elsewhere.delete()
    elsewhere.delete()
    assert there(store) == []


def test_only_what_is_newer_than_here_is_fetched(folder: Path, checkpoints: RemoteCheckpoints) -> None:
    def name(number: int) -> str:
        return f"step-{100 - number:012}-save-{number:09}-{'a' * 64}.pt"  # a rollback lowers the step

    run = folder / "train-0123"
    run.mkdir(parents=True)
    (run / name(3)).write_text("of another machine")
    checkpoints.send()
    (run / name(3)).unlink()
    for number in (4, 5):
        (run / name(number)).write_text("of this one, which has pruned that")
    assert checkpoints.fetch() == 0
    (run / name(4)).unlink()
    (run / name(5)).unlink()
    (run / name(2)).write_text("older")
    assert checkpoints.fetch() == 1
    assert (run / name(3)).read_text() == "of another machine"


def test_they_are_sent_while_a_training_runs_and_when_it_is_interrupted(
    fresh: Path, folder: Path, checkpoints: RemoteCheckpoints
) -> None:
    store, said = fresh.parent / "store", list[str]()

    def train() -> None:
        with checkpoints.sent(said.append):
            save(folder, 1)
            wait_for(lambda: there(store) == ["step-1.pt"], 10 * POLL_S)
            save(folder, 2)  # what a training saves when it is interrupted
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert (there(store), said) == (["step-1.pt", "step-2.pt"], [])


def test_a_name_at_the_remote_that_leads_elsewhere_is_not_fetched(
    folder: Path, checkpoints: RemoteCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store has any names."""
    save(folder, 1)
    checkpoints.send()
    names = dict.fromkeys(("../../x", "../x", "train-0123/../../x", "a/b/c", "/etc/x", "train-0123/.new-1"), 1)
    monkeypatch.setattr(checkpoints._files, "sizes", lambda: {**names, "train-0123/step-1.pt": 1})
    asked: list[str] = []
    monkeypatch.setattr(checkpoints._files, "fetch", lambda name, _target: asked.append(name))
    assert checkpoints.fetch() == 1
    assert asked == ["train-0123/step-1.pt"]


def test_a_remote_that_is_away_harms_no_training(fresh: Path, folder: Path, checkpoints: RemoteCheckpoints) -> None:
    said: list[str] = []
    (fresh.parent / "store/genai").mkdir(parents=True)
    (fresh.parent / "store/genai/checkpoints").write_text("a file where a folder should be")
    with checkpoints.sent(said.append):
        save(folder, 1)
        wait_for(lambda: said, 10 * POLL_S)
    assert "a checkpoint could not be sent" in said[0]
    with pytest.raises(UnreachableError):
        checkpoints.send()

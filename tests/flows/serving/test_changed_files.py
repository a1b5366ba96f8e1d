"""Weights that change while they are served, or between their loading and the first look."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.registry.model_names import WEIGHTS_FILE
from flows.serving import changed_files
from flows.serving.generation import Generation


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generation:
    """A model whose weights are those that were loaded."""
    monkeypatch.setattr(changed_files, "LOOK_EVERY_S", 0.005)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"loaded")
    return Generation("mine", "mine 1", tmp_path, None, hashlib.sha256(b"loaded").hexdigest())


def watched(model: Generation, change: Callable[[], object] = lambda: None) -> str | None:
    """Look several times before a change and after it. Return the model's fault."""

    async def story() -> None:
        task = asyncio.create_task(changed_files.watch_files([model]))  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        change()
        for _ in range(100):
            await asyncio.sleep(0.005)
            if model.fault is not None:
                break
        task.cancel()

    asyncio.run(story())
    return model.fault


def test_the_same_weights_are_served(model: Generation) -> None:
    assert watched(model) is None


def test_the_same_weights_written_anew_are_served(model: Generation) -> None:
    path = model.folder / WEIGHTS_FILE
    assert watched(model, lambda: path.write_bytes(b"loaded")) is None


def test_other_weights_are_refused(model: Generation) -> None:
    assert "have changed" in (watched(model, lambda: (model.folder / WEIGHTS_FILE).write_bytes(b"other")) or "")


def test_weights_that_changed_before_the_first_look_are_refused(model: Generation) -> None:
    (model.folder / WEIGHTS_FILE).write_bytes(b"other")
    assert "have changed" in (watched(model) or "")


def test_weights_that_were_removed_before_the_first_look_are_refused(model: Generation) -> None:
    (model.folder / WEIGHTS_FILE).unlink()
    assert "have changed" in (watched(model) or "")

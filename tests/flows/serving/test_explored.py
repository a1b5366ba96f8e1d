"""Moves along directions are checked against what was found."""

import asyncio
import gc
import json
import weakref
from pathlib import Path

import pytest

from flows.registry.model_names import ModelFiles
from flows.serving import explored as module
from flows.serving.bodies import Direction
from flows.serving.errors import ApiError
from flows.serving.explored import Explored
from flows.serving.generation import Generation
from flows.serving.real_data import RealData
from genai_core.exploring.directions_folder import FORMAT


@pytest.fixture
def model() -> Generation:
    description = {"sha256": "a" * 64, "sampling": {"truncation": {"value": 1.0}}}
    return Generation("gan", "gan 1", Path("gan"), None, None, description=description)


@pytest.fixture
def explored(tmp_path: Path, model: Generation) -> Explored:
    """With the directions of the model in the cache."""
    made = Explored(tmp_path, tmp_path, "cpu")
    folder = made.directions_folder(model)
    folder.mkdir(parents=True)
    found = [{"name": "slant", "low": -3.5, "high": 3.5}, {"name": "towards a", "low": 0.0, "high": 1.0}]
    (folder / "directions.json").write_text(json.dumps({"format": FORMAT, "directions": found}))
    return made


def checked(explored: Explored, model: Generation, *moves: tuple[str, float]) -> Path:
    wanted = [Direction(name=name, amount=amount) for name, amount in moves]
    return asyncio.run(explored.checked_directions(model, wanted))


def test_possible_moves_have_the_folder(explored: Explored, model: Generation) -> None:
    folder = checked(explored, model, ("slant", -3.5), ("towards a", 1.0))
    assert folder == explored.directions_folder(model)


@pytest.mark.parametrize(
    ("moves", "param", "code"),
    [
        ([("age", 1.0)], "directions.0.name", "unknown_direction"),
        ([("slant", 1.0), ("slant", 1.0)], "directions.1.name", "invalid_value"),
        ([("slant", 3.6)], "directions.0.amount", "invalid_value"),
        ([("slant", 0.0), ("towards a", -0.1)], "directions.1.amount", "invalid_value"),
    ],
)
def test_other_moves_are_refused(
    explored: Explored, model: Generation, moves: list[tuple[str, float]], param: str, code: str
) -> None:
    with pytest.raises(ApiError) as found:
        checked(explored, model, *moves)
    assert (found.value.status, found.value.param, found.value.code) == (422, param, code)


def test_directions_of_another_format_are_found_anew(
    explored: Explored, model: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.DIRECTIONS_FORMAT == FORMAT
    folder = explored.directions_folder(model)
    monkeypatch.setattr(module, "DIRECTIONS_FORMAT", FORMAT - 1)
    assert explored.directions_folder(model) != folder


def test_other_weights_or_options_have_other_directions(explored: Explored, model: Generation) -> None:
    folder = explored.directions_folder(model)
    model.description = {**model.description, "sampling": {"truncation": {"value": 0.7}}}
    assert explored.directions_folder(model) != folder
    model.description = {**model.description, "sampling": {"truncation": {"value": 1.0}}, "sha256": "b" * 64}
    assert explored.directions_folder(model) != folder


def test_a_model_without_real_images_is_refused(explored: Explored, model: Generation) -> None:
    with pytest.raises(ApiError) as found:
        asyncio.run(explored.folders(model))
    assert (found.value.status, found.value.code) == (409, "no_real_images")


def test_real_images_are_laid_out_once_until_they_are_forgotten(tmp_path: Path, model: Generation) -> None:
    calls = []

    class Counted(RealData):
        def folders(self) -> dict[str, str]:
            calls.append(1)
            return {"dataset": "here"}

    files = ModelFiles("gan", tmp_path, None, None, "a" * 64, "gan", ())
    model.real_data = Counted(tmp_path, files, {}, None)

    async def ask() -> None:
        explored = Explored(tmp_path, tmp_path, "cpu")
        both = await asyncio.gather(explored.folders(model), explored.folders(model))
        assert both == [{"dataset": "here"}] * 2
        assert len(calls) == 1
        explored.forget(model)
        await explored.folders(model)
        assert len(calls) == 2

    asyncio.run(ask())


class Laid(dict[str, str]):
    """A result that can be watched."""


class Watched(RealData):
    def folders(self) -> dict[str, str]:
        return Laid()


def test_what_was_laid_out_for_an_unloaded_model_is_forgotten(tmp_path: Path) -> None:
    files = ModelFiles("gan", tmp_path, None, None, "a" * 64, "gan", ())

    async def ask() -> None:
        explored = Explored(tmp_path, tmp_path, "cpu")
        model = Generation("gan", "gan 1", tmp_path, None, None, Watched(tmp_path, files, {}, None))
        found = weakref.ref(await explored.folders(model))
        gc.collect()
        assert found() is not None
        del model
        await asyncio.sleep(0.1)  # the thread that laid it out lets it go after its answer
        gc.collect()
        assert found() is None

    asyncio.run(ask())


def test_a_search_that_fails_is_an_error(tmp_path: Path, explored: Explored, model: Generation) -> None:
    """The folder is no checkout, so the search ends at once."""
    model.description = {**model.description, "sha256": "b" * 64}
    with pytest.raises(ApiError) as found:
        asyncio.run(explored.directions(model))
    assert (found.value.status, found.value.code) == (503, "no_directions")

"""`genai search` before anything runs."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.search import SearchError
from flows.search.cli import search
from genai_core.config import ConfigError
from tests.flows.search.test_space import RATE
from tests.project import change_parameters
from tests.test_rooms import ROOT


def test_a_fault_of_the_space_is_named_before_a_server_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody answers there
    workspace_with(tmp_path, {RATE: {"low": 0.1, "high": 2.0}})
    result = CliRunner().invoke(search, ["--trials", "2"], obj=tmp_path)
    assert isinstance(result.exception, SearchError)
    assert f"{RATE}: got 2.0" in str(result.exception)


@pytest.mark.parametrize("option", ["--trials", "--minutes", "--parallel"])
def test_nothing_is_searched_with_none_of_something(tmp_path: Path, option: str) -> None:
    result = CliRunner().invoke(search, [option, "0"], obj=tmp_path)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.output


def test_workers_need_a_server_that_they_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    workspace_with(tmp_path, {RATE: {"low": 1e-4, "high": 1e-2}})
    result = CliRunner().invoke(search, ["--trials", "2", "--executor", "pool"], obj=tmp_path)
    assert isinstance(result.exception, ConfigError)
    assert "executor pool needs a Prefect server that the workers reach" in str(result.exception)


def workspace_with(folder: Path, space: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/image.txt").write_text("an image")
    for name in ("dvc.yaml", ".dvc", "data/raw.dvc"):
        (folder / name).write_text("")
    change_parameters(folder, lambda values: values["search"].update(space=space))

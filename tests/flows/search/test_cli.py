"""`genai search` before anything runs."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.search import SearchError
from flows.search.cli import search
from tests.flows.search.test_space import RATE
from tests.project import change_parameters
from tests.test_rooms import ROOT


def test_a_fault_of_the_space_is_named_before_a_server_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody answers there
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/image.txt").write_text("an image")
    for name in ("dvc.yaml", ".dvc", "data/raw.dvc"):
        (tmp_path / name).write_text("")
    change_parameters(tmp_path, lambda values: values["search"].update(space={RATE: {"low": 0.1, "high": 2.0}}))
    result = CliRunner().invoke(search, ["--trials", "2"], obj=tmp_path)
    assert isinstance(result.exception, SearchError)
    assert f"{RATE}: got 2.0" in str(result.exception)

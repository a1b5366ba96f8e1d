"""The history that lineage's tests look at: built once for each process that runs some of them."""

from collections.abc import Iterator

import pytest

from tests.flows.conftest import ROOT
from tests.flows.lineage.history import Story


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Read only: a test that changes it copies its home."""
    home = tmp_path_factory.mktemp("lineage") / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # the home has no code of the project
        yield Story(home)

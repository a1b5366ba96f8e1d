from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.serving.served import Server, save_tiny_model, serving
from tests.models.tiny import RECIPES


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model of each family, and one without classes."""
    folder = tmp_path_factory.mktemp("served")
    for family in RECIPES:
        save_tiny_model(folder / family, family)
    save_tiny_model(folder / "plain", "gan", classes=())
    return folder


@pytest.fixture(scope="session")
def server(model_folders: Path) -> Iterator[Server]:
    """One server with all of them; `diffusion` is the first."""
    names = [str(model_folders / name) for name in (*RECIPES, "plain")]
    with serving(*names, workspace=model_folders) as found:
        yield found

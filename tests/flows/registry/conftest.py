"""A repository with two models, for tests of promotion."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import MadeOnce
from tests.flows.model_home import make, new_home


def _two_models(folder: Path) -> None:
    home = new_home(folder)
    make(home, 3.0)
    make(home, 2.0)


@pytest.fixture
def home(_own_settings: None, made_once: MadeOnce, tmp_path: Path) -> Path:
    """Two commits with a model each; the second is checked out."""
    return Path(shutil.copytree(made_once("two-models", _two_models), tmp_path / "home", symlinks=True))

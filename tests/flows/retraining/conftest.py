"""A checkout in which a retraining starts: with a model in production, or what is known of one."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.registry.read import Move, Registry
from flows.retraining.champion import ChampionShape
from flows.retraining.facts import Situation, StartPoint
from genai_core.config import load_config
from genai_core.image_size import ImageSize
from tests.conftest import MadeOnce
from tests.flows.conftest import ROOT, Server, shell
from tests.flows.retrain_home import promoted_home


@pytest.fixture
def situation(tmp_path: Path) -> Situation:
    shell(tmp_path, "git init -q && git commit -q --allow-empty -m first")
    commit = shell(tmp_path, "git rev-parse HEAD").strip()
    move = Move(1, "v0.0.1", commit, datetime.now(UTC), "a test", "promote", "")
    return Situation(
        start=StartPoint(commit, "new.dir", "main", "this checkout", None, ()),
        config=load_config(ROOT / "params.yaml"),
        registry=Registry((), (move,), {}, None),
        production=move,
        production_raw="old.dir",
        shape=ChampionShape(ImageSize.square(16), 1, ("cat", "dog"), 80),
        records=[],
        notes=(),
    )


@pytest.fixture
def home(made_once: MadeOnce, server: Server, tmp_path: Path) -> Path:
    """A home whose first model was trained and promoted by the retraining itself."""
    template = made_once("promoted", lambda folder: promoted_home(folder, server.url)) / "home"
    return Path(shutil.copytree(template, tmp_path / "home", symlinks=True))

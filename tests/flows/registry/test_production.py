"""Production laid out from the cache: kept while unchanged; missing or damaged objects are detected."""

import shutil
from pathlib import Path

import pytest

from flows.registry.production import ProductionError, lay_out_production, task_folder
from genai_core import load_model
from tests.flows.conftest import DVC_WARNS, ROOT, genai, shell
from tests.flows.model_home import make, new_home

pytestmark = DVC_WARNS


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions, the second in production."""
    home = new_home(tmp_path_factory.mktemp("template") / "home")
    for figure in (3.0, 2.0):
        make(home, figure)
        answer = genai(home, "promote")
        assert answer.returncode == 0, answer.stderr
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    home = Path(shutil.copytree(template, tmp_path / "home", symlinks=True))
    shutil.copy(ROOT / "params.yaml", home)  # whole, for what draws from production
    return home


def test_intact_files_are_kept_and_missing_or_damaged_ones_are_errors(home: Path) -> None:
    model = lay_out_production(home).folder / "models/candidate"
    assert load_model(model).shape == (1, 8, 8)
    weights, inode = model / "model.safetensors", model.stat().st_ino
    lay_out_production(home)
    assert model.stat().st_ino == inode

    # A link that leads to another object, and a file that somebody changed.
    target = weights.readlink()
    weights.unlink()
    weights.symlink_to((model / "config.json").readlink())
    lay_out_production(home)
    assert weights.readlink() == target
    (model / "selection.json").unlink()
    (model / "selection.json").write_text("{}")
    lay_out_production(home)
    assert (model / "selection.json").is_symlink()

    # Its object is missing in the cache, with and without a local copy; or has other content.
    shutil.move(target, home / "away")
    with pytest.raises(ProductionError, match=r"1 of \d files are missing, for example model\.safetensors; roll back"):
        lay_out_production(home)
    shutil.copy(home / "away", target)
    lay_out_production(home)
    target.write_bytes(target.read_bytes()[:-1] + b"x")
    with pytest.raises(ProductionError, match=rf"model\.safetensors is damaged in DVC's cache. Delete {target}"):
        lay_out_production(home)

    # With a remote it comes from there.
    target.unlink()
    shutil.move(home / "away", target)
    shell(home, f"dvc remote add -q -d storage {home.parent / 'storage'} && dvc push -q")
    target.unlink()
    lay_out_production(home)
    assert not weights.is_symlink()
    inode = model.stat().st_ino
    lay_out_production(home)
    assert model.stat().st_ino == inode


def test_each_task_reads_its_own_parameters(home: Path, tmp_path: Path) -> None:
    """The workspace's, which somebody may edit meanwhile, reach no other command's task."""
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/params.yaml").write_text("of: the snapshot")
    production = lay_out_production(home)
    with task_folder(tmp_path / "snapshot", production.folder) as one, task_folder(home, production.folder) as two:
        lay_out_production(home)
        assert (one / "params.yaml").read_text() == "of: the snapshot"
        assert (two / "params.yaml").read_bytes() == (home / "params.yaml").read_bytes()
        assert load_model(one / "models/candidate").shape == (1, 8, 8)
    assert not one.exists()
    assert not (production.folder / "params.yaml").exists()
    assert load_model(production.folder / "models/candidate").shape == (1, 8, 8)

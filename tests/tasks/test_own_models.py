import json
import shutil
from pathlib import Path

import pytest
import torch

from genai_core.config import load_config
from genai_core.models.artifact import build_model, read_config, save_model
from tasks.own_models import load_own
from tests.models.tiny import SHAPE, diffusion_recipe


@pytest.fixture
def branch(workspace: Path) -> Path:
    """The model of the branch diffusion, as the stage train leaves it."""
    torch.manual_seed(1)
    folder, recipe = workspace / "models" / "trained" / "diffusion", diffusion_recipe()
    folder.mkdir(parents=True)
    save_model(folder, build_model(recipe, SHAPE), recipe, dataset="d" * 64, training_summary={})
    return folder


def test_a_branch_draws_as_params_yaml_says(
    branch: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))  # as `genai generate` does
    own = load_config(workspace / "params.yaml").models["diffusion"].sampling
    assert load_own(branch, "cpu").sampling == own
    chosen = own.model_copy(update={"steps": 3})
    (branch / "selection.json").write_text(json.dumps({"sampling": chosen.model_dump(mode="json")}))
    assert load_own(branch, "cpu").sampling == chosen


def test_a_model_from_elsewhere_draws_as_usual(
    branch: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    own = load_config(workspace / "params.yaml").models["diffusion"].sampling
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "diffusion"
    shutil.copytree(branch, elsewhere)
    assert load_own(elsewhere, "cpu").sampling != own
    assert capsys.readouterr().err == ""
    (workspace / "params.yaml").write_text("models: {}\n")
    assert load_own(branch, "cpu").sampling == load_own(elsewhere, "cpu").sampling
    said = capsys.readouterr().err
    assert f"note: {branch} draws with the usual options of its family: params.yaml: " in said
    (workspace / "params.yaml").unlink()
    assert load_own(branch, "cpu").sampling == load_own(elsewhere, "cpu").sampling


def test_a_finetuned_model_draws_as_the_model_it_continues_whatever_is_the_base_now(
    branch: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, recipe = load_config(workspace / "params.yaml").models["diffusion"].sampling, diffusion_recipe()
    models = {"selected": 5, "base": 3}
    for seed, (name, steps) in enumerate(models.items()):
        torch.manual_seed(seed)
        folder = workspace / "models" / name
        folder.mkdir()
        save_model(folder, build_model(recipe, SHAPE), recipe, dataset="d" * 64, training_summary={})
        values = {"sampling": own.model_copy(update={"steps": steps}).model_dump(mode="json")}
        (folder / "selection.json").write_text(json.dumps(values))
    finetuned = workspace / "models/finetuned"
    finetuned.mkdir()
    for name, steps in models.items():
        origin = {"started from": f"weights {read_config(workspace / 'models' / name).sha256['model.safetensors']}"}
        save_model(finetuned, build_model(recipe, SHAPE), recipe, dataset="d" * 64, training_summary=origin)
        assert load_own(finetuned, "cpu").sampling == own.model_copy(update={"steps": steps})
    shutil.rmtree(workspace / "models/base")
    load_own(finetuned, "cpu")
    assert "continues a model that is neither models/selected nor models/base now" in capsys.readouterr().err

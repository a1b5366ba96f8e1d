"""The stage `finetune` with old_classes: keep: new classes are learned, and all others drawn as the base draws them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from genai_core.config import GroupedRecipe
from genai_core.data.dataset.dataset import load_dataset
from genai_core.models.artifact import load_model, read_config, selected_sampling
from genai_core.sampling.sample import sample_images
from tasks import base, finetune
from tests.evaluation.conftest import make_dataset
from tests.tasks.conftest import ROOT
from tests.tasks.small_run import PARAMS, change_params, read_json, small_params, write_model, write_selection
from tests.tasks.test_base import MORE, run, with_a_class_more


@pytest.fixture
def based(workspace, monkeypatch):
    """A workspace whose base is a diffusion model that was trained on data/old."""
    (workspace / "genai_core").symlink_to(ROOT / "genai_core")  # whose code a base depends on
    yaml = YAML()
    own = yaml.load(PARAMS)["models"]["diffusion"]
    small_params()
    own["network"].update(width=8, depth=1)
    change_params(
        models={"small": own},
        finetune={
            "start": "base",
            "old_classes": "keep",
            "total_images": 96,
            "warmup_images": 16,
            "ema_halflife_images": 32,
        },
    )
    make_dataset(Path("data/old"))
    write_model("models/trained/small")
    bring_in("models/trained/small", monkeypatch, data="data/old")
    return workspace


def bring_in(model, monkeypatch, data):
    shutil.rmtree("version", ignore_errors=True)
    write_selection("version", model, "small")
    values = read_json("version/selection.json")
    Path("version/selection.json").write_text(json.dumps({**values, "family": "diffusion", "protocol": {}}))
    run(monkeypatch, base, "version", "--name=v0.0.1", f"--data={data}")


def drawn(folder, name):
    """Images of one class."""
    model = load_model(Path(folder))
    labels = torch.full((6,), model.shape.classes.index(name))
    return sample_images(model, labels, torch.arange(6), selected_sampling(Path("models/base")), 6)


def test_old_classes_are_drawn_as_before_and_the_new_one_is_learned(based, monkeypatch, capsys):
    with_a_class_more()
    run(monkeypatch, finetune)
    said = capsys.readouterr().out
    assert "models/base: 1 new class, which start as the mean of the others: both" in said
    assert "finetune.old_classes: keep: 60 images of both to train on; 240 images of other classes left out" in said
    description = read_config(Path("models/finetuned"))
    assert description.shape.classes == MORE
    assert isinstance(description.config, GroupedRecipe)
    assert description.config.class_groups.networks == (("across", "down"), ("both",))
    told = "the 60 images of both, by a network of their own; all other classes are drawn as before"
    assert description.training_summary["learned from"] == told
    for name in ("across", "down"):
        assert (drawn("models/base", name) == drawn("models/finetuned", name)).all()
    weights = load_model(Path("models/finetuned")).network.networks
    assert not torch.equal(weights[0].head.weight, weights[1].head.weight)


def test_what_was_learned_so_goes_on_with_all_of_its_networks(based, monkeypatch, capsys):
    with_a_class_more()
    run(monkeypatch, finetune)
    bring_in("models/finetuned", monkeypatch, data="data/prepared")
    change_params(finetune={"optimizer": "restored"})
    capsys.readouterr()
    run(monkeypatch, finetune)
    said = capsys.readouterr().out
    assert "old_classes: keep is for new classes, and none is new, so all are trained" in said
    assert "finetune.optimizer: restored, but fresh for " in said
    assert "weights that were not trained last" in said
    before, after = (load_model(Path(f"models/{name}")).network.networks for name in ("base", "finetuned"))
    for one, other in zip(before, after, strict=True):
        assert not torch.equal(one.head.weight, other.head.weight)
    assert read_config(Path("models/finetuned")).dataset == load_dataset(Path("data/prepared")).info.fingerprint


def test_a_fresh_optimizer_for_a_new_network_is_told(based, monkeypatch, capsys):
    with_a_class_more()
    change_params(finetune={"optimizer": "restored"})
    run(monkeypatch, finetune)
    assert "finetune.optimizer: restored, but fresh for the network of the new classes" in capsys.readouterr().out


def test_low_rank_changes_are_those_of_the_new_network(based, monkeypatch):
    with_a_class_more()
    change_params(finetune={"kind": "lora"})
    run(monkeypatch, finetune)
    assert (drawn("models/base", "down") == drawn("models/finetuned", "down")).all()
    assert (drawn("models/base", "down") != drawn("models/finetuned", "both")).any()


@pytest.mark.parametrize(("more_of_others", "choice"), [(0, "keep"), (49, "train")])
def test_auto_keeps_unless_other_classes_have_more_new_images(based, monkeypatch, capsys, more_of_others, choice):
    """48 images of the new class are in the train split."""
    with_a_class_more(of_new=48, more_of_others=more_of_others)
    change_params(finetune={"old_classes": "auto"})
    run(monkeypatch, finetune)
    why = f"of the new images, 48 are of new classes and {more_of_others} of others"
    assert f"finetune.old_classes: auto is {choice}, because {why}" in capsys.readouterr().out
    assert isinstance(read_config(Path("models/finetuned")).config, GroupedRecipe) == (choice == "keep")


def test_auto_trains_all_where_nothing_says_what_is_new(based, monkeypatch, capsys):
    with_a_class_more()
    Path("models/base/seen.npy").unlink()
    change_params(finetune={"old_classes": "auto"})
    run(monkeypatch, finetune)
    assert "auto is train, because no record says which images of other classes are new" in capsys.readouterr().out


def test_a_model_of_another_family_is_refused(workspace, monkeypatch, capsys):
    small_params()
    change_params(finetune={"old_classes": "keep", "start": "base"})
    (workspace / "genai_core").symlink_to(ROOT / "genai_core")
    make_dataset(Path("data/old"))
    write_model("models/trained/small")
    bring_in("models/trained/small", monkeypatch, data="data/old")
    with_a_class_more()
    with pytest.raises(SystemExit):
        run(monkeypatch, finetune)
    said = capsys.readouterr().err
    assert "finetune: finetune.old_classes: got keep; allowed: train, because this is a gan model" in said
    assert not Path("models/finetuned").exists()
    change_params(finetune={"old_classes": "auto", "total_images": 64})
    run(monkeypatch, finetune)
    assert "auto is train, because a gan model has one network for all classes" in capsys.readouterr().out
    assert read_config(Path("models/finetuned")).shape.classes == MORE

"""The stage `finetune` with old_classes: keep: new classes are learned, and all others drawn as the base draws them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from genai_core.config import GroupedRecipe
from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize
from genai_core.models.artifact import load_for_training, load_model, read_config, save_model, selected_sampling
from genai_core.sampling.sample import sample_images
from tasks import base, finetune
from tests.evaluation.conftest import SIZE, make_dataset, stripes
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
    randomise("models/trained/small")
    bring_in("models/trained/small", monkeypatch, data="data/old")
    return workspace


def randomise(folder):
    """Random weights everywhere: a fresh network ends in zeros, and draws the same whatever the others are."""
    folder = Path(folder)
    model, description = load_for_training(folder), read_config(folder)
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    save_model(folder, model, description.config, dataset=description.dataset, training_summary={})


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
    assert "models/base: 1 new class, starting as the mean of the others: both" in said
    assert "a separate network learns 60 images of both; 240 images of other classes skipped, 0 of them new" in said
    description = read_config(Path("models/finetuned"))
    assert description.shape.classes == MORE
    assert isinstance(description.config, GroupedRecipe)
    assert description.config.class_groups.networks == (("across", "down"), ("both",))
    told = "the 60 images of both, by a separate network"
    assert description.training_summary["learned from"] == told
    assert not Path("models/finetuned/unseen.npy").exists()
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
    change_params(finetune={"optimizer": "restored", "images": "replay"})
    run(monkeypatch, finetune)
    said = capsys.readouterr().out
    assert "finetune.optimizer: restored, but fresh for the network of the new classes" in said
    assert "finetune.images: replay has no effect on it" in said
    assert "optimizer" not in read_config(Path("models/finetuned")).training_summary


def test_low_rank_changes_are_those_of_the_new_network(based, monkeypatch):
    with_a_class_more()
    change_params(finetune={"kind": "lora"})
    run(monkeypatch, finetune)
    assert (drawn("models/base", "down") == drawn("models/finetuned", "down")).all()
    assert (drawn("models/base", "down") != drawn("models/finetuned", "both")).any()


def test_auto_keeps_and_says_which_images_are_left_for_later(based, monkeypatch, capsys):
    with_a_class_more(of_new=48, more_of_others=40)
    change_params(finetune={"old_classes": "auto"})
    run(monkeypatch, finetune)
    said = capsys.readouterr().out
    assert "finetune.old_classes: auto is keep" in said
    assert "48 images of both; 280 images of other classes skipped, 40 of them new" in said
    assert isinstance(read_config(Path("models/finetuned")).config, GroupedRecipe)
    bring_in("models/finetuned", monkeypatch, data="data/prepared")
    change_params(finetune={"images": "new"})
    run(monkeypatch, finetune)
    assert "40 new images of 328 to train on" in capsys.readouterr().out
    shutil.copytree("models/base", "former")  # as for a few-step model, whose teacher is the base of a commit
    run(monkeypatch, base, "former", "--name=v0.0.1")
    run(monkeypatch, finetune)
    assert "40 new images of 328 to train on" in capsys.readouterr().out


def test_without_a_record_skipped_images_count_as_new(based, monkeypatch, capsys):
    without_a_record()
    run(monkeypatch, finetune)
    said = capsys.readouterr().out
    assert "240 images of other classes skipped, all as new, because models/base/seen.npy is missing" in said
    bring_in("models/finetuned", monkeypatch, data="data/prepared")
    change_params(finetune={"images": "new"})
    run(monkeypatch, finetune)
    assert "240 new images of 300 to train on" in capsys.readouterr().out


def test_a_network_without_images_stays_even_if_its_optimizer_is_restored(based, monkeypatch):
    with_a_class_more(of_new=60)
    run(monkeypatch, finetune)
    bring_in("models/finetuned", monkeypatch, data="data/prepared")
    change_params(finetune={"optimizer": "restored"})
    run(monkeypatch, finetune)  # both learn
    bring_in("models/finetuned", monkeypatch, data="data/prepared")
    with_a_class_more(of_new=60, more_of_others=40)
    change_params(finetune={"images": "new"})
    run(monkeypatch, finetune)
    before, after = (load_model(Path(f"models/{name}")).network.networks for name in ("base", "finetuned"))
    assert not torch.equal(before[0].head.weight, after[0].head.weight)
    for name, weight in before[1].state_dict().items():
        assert torch.equal(weight, after[1].state_dict()[name]), name


def without_a_record():
    with_a_class_more()
    Path("models/base/seen.npy").unlink()


def with_as_many_of_others():
    with_a_class_more(of_new=48, more_of_others=48)


def with_removed_ones():
    """A few of the old images are left."""
    images, labels = stripes(240, 1)
    kept = np.arange(240) < 200
    crossed = np.maximum(images[:30], np.swapaxes(images[:30], 2, 3))
    labels = np.concatenate([labels[kept] * 2, np.full(30, 1)])
    write_classes(MORE, np.concatenate([images[kept], crossed]), labels)


def with_images_of_another_class():
    images, labels = stripes(240, 1)
    write_classes(("across", "both", "down"), images, np.where(np.arange(240) < 30, 1, labels * 2))


def with_nothing_of_the_new_class():
    images, labels = stripes(240, 1)
    write_classes(("across", "both", "down"), images, labels * 2)


def with_new_classes_only():
    write_classes(("x", "y"), *stripes(80, 5))


def in_colour():
    images, labels = stripes(240, 1)
    labels = np.where(np.arange(240) < 30, 1, labels * 2)
    write_classes(("across", "both", "down"), np.repeat(images, 3, axis=1), labels)


def write_classes(classes, images, labels):
    size, channels = ImageSize.square(SIZE), images.shape[1]
    writer = DatasetWriter(Path("data/prepared"), image_size=size, channels=channels, classes=classes, shard_images=99)
    for split in ("train", "test"):
        writer.add(split, images, labels)
    writer.finish()


@pytest.mark.parametrize(
    ("arrive", "why", "is_possible"),
    [
        (with_as_many_of_others, "of new classes, 48 images came, and of the others, 48 came", True),
        (with_removed_ones, "of new classes, 30 images came, and of the others, 40 went", True),
        (without_a_record, "models/base/seen.npy is missing: nothing says which images of the other classes", True),
        (with_images_of_another_class, "30 images of the new classes had another class before", True),
        (with_new_classes_only, "all classes are new", False),
        (in_colour, "the images have another size or number of channels than the base's", False),
    ],
)
def test_auto_trains_all_where_keeping_is_unwise(based, monkeypatch, capsys, arrive, why, is_possible):
    arrive()
    change_params(finetune={"old_classes": "auto"})
    run(monkeypatch, finetune)
    assert f"finetune.old_classes: auto is train, because {why}" in capsys.readouterr().out
    assert not isinstance(read_config(Path("models/finetuned")).config, GroupedRecipe)
    change_params(finetune={"old_classes": "keep"})
    if is_possible:
        run(monkeypatch, finetune)
        assert isinstance(read_config(Path("models/finetuned")).config, GroupedRecipe)
    else:
        with pytest.raises(SystemExit):
            run(monkeypatch, finetune)
        assert f"finetune.old_classes: got keep; allowed: train or auto, because {why}" in capsys.readouterr().err


def test_a_class_that_was_only_held_out_is_new_when_its_images_come(based, monkeypatch, capsys):
    with_nothing_of_the_new_class()
    run(monkeypatch, finetune)
    said = capsys.readouterr().out
    assert "no image of both is in the train split, so nothing teaches the model that class" in said
    assert "finetune.old_classes: keep is for new classes, and none is new, so all are trained" in said
    assert "because classes are new" not in said
    bring_in("models/finetuned", monkeypatch, data="data/prepared")
    with_a_class_more()
    run(monkeypatch, finetune)
    assert "a separate network learns 60 images of both; " in capsys.readouterr().out
    groups = read_config(Path("models/finetuned")).config.class_groups
    assert groups.networks == (("across", "down"), ("both",))


def test_a_record_of_skipped_images_that_is_missing_or_damaged_is_an_error(based, monkeypatch, capsys):
    with_a_class_more(more_of_others=40)
    run(monkeypatch, finetune)
    summary = read_config(Path("models/finetuned")).training_summary
    assert summary["images that it was not trained on"] == 40
    record = Path("models/finetuned/unseen.npy")
    record.write_bytes(record.read_bytes()[:-1] + b"?")
    with pytest.raises(SystemExit):
        bring_in("models/finetuned", monkeypatch, data="data/prepared")
    assert "unseen.npy: its sha256 differs from the one in config.json" in capsys.readouterr().err
    record.unlink()
    with pytest.raises(SystemExit):
        bring_in("models/finetuned", monkeypatch, data="data/prepared")
    assert "unseen.npy is missing; the model was copied or pulled only in part" in capsys.readouterr().err


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
    assert "finetune: finetune.old_classes: got keep; allowed: train or auto, because a gan model" in said
    assert not Path("models/finetuned").exists()
    change_params(finetune={"old_classes": "auto", "total_images": 64})
    run(monkeypatch, finetune)
    assert "auto is train, because a gan model has one network for all classes" in capsys.readouterr().out
    assert read_config(Path("models/finetuned")).shape.classes == MORE

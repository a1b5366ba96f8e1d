"""A model becomes the base of a fine-tuning, is continued as `finetune:` says, and is compared with what came of it."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from genai_core.config import ModelCardConfig
from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize
from genai_core.models.artifact import WEIGHTS_FILE, load_for_training, load_model, read_config
from tasks import base, candidate, evaluate, extractor, finetune, reference
from tasks.candidate import against_base
from tasks.selection import MeasuredModel
from tests.evaluation.conftest import SIZE, make_dataset, stripes
from tests.tasks.conftest import ROOT
from tests.tasks.small_run import change_params, read_json, small_params, write_model, write_selection

CARD = ModelCardConfig(licence="MIT", intended_use="tests")
MORE = ("across", "both", "down")  # a new class in the middle: `down` gets another number


def run(monkeypatch, task, *arguments):
    monkeypatch.setattr(sys, "argv", [task.__name__, *arguments])
    task.main()


@pytest.fixture
def based(workspace, monkeypatch):
    """A workspace whose base is a version's candidate; it was trained on data/old."""
    (workspace / "genai_core").symlink_to(ROOT / "genai_core")  # whose code a base depends on
    small_params()
    change_params(
        finetune={"start": "base", "total_images": 64, "warmup_images": 16, "ema_halflife_images": 32},
    )
    make_dataset(Path("data/old"))
    write_model("models/trained/small")
    write_selection("version", "models/trained/small", "small")
    card = Path("version/card.md")
    card.write_text(card.read_text() + candidate.card_section(CARD, "it was chosen"))
    values = read_json("version/selection.json")
    Path("version/selection.json").write_text(json.dumps({**values, "family": "gan", "protocol": {}}))
    run(monkeypatch, base, "version", "--name=v0.0.1", "--data=data/old")
    return workspace


def with_a_class_more(of_new=60, more_of_others=0):
    """The images of data/old, more of their classes and some of a third class; test images of all three."""
    writer = DatasetWriter(
        Path("data/prepared"), image_size=ImageSize.square(SIZE), channels=1, classes=MORE, shard_images=1000
    )
    for split, count, seed in (("train", 240, 1), ("test", 80, 2)):
        images, labels = stripes(count, seed)
        chosen = images[: of_new if split == "train" else count // 4]
        crossed = np.maximum(chosen, np.swapaxes(chosen, 2, 3))
        writer.add(split, images, labels * 2)
        writer.add(split, crossed, np.full(len(crossed), 1))
    if more_of_others:
        images, labels = stripes(more_of_others, 3)
        writer.add("train", images, labels * 2)
    writer.finish()


def test_what_a_base_holds(based):
    assert read_json("models/base/base.json") == {"name": "v0.0.1"}
    assert read_json("models/base/selection.json")["sampling"] == {"truncation": 1.0}
    code = read_json("models/base/code.json")
    assert {"genai_core/models/gan.py", "seen.npy"} <= set(code)
    assert code["sampling"] == {"truncation": 1.0}  # which a few-step model would learn
    assert "## Licence" not in Path("models/base/card.md").read_text()  # the candidate gets its own
    assert load_model(Path("models/base")).shape.classes == ("across", "down")


def test_a_model_of_this_workspace_and_a_folder_from_elsewhere(based, monkeypatch, capsys):
    run(monkeypatch, base, "models/trained/small", "--name=small")
    assert read_json("models/base/selection.json")["sampling"] == {"truncation": 1.0}  # of params.yaml
    assert not Path("models/base/seen.npy").exists()  # its dataset is not the one that is here
    shutil.copytree("models/trained/small", "elsewhere")
    with pytest.raises(SystemExit):
        run(monkeypatch, base, "elsewhere", "--name=elsewhere")
    assert "base: elsewhere: no sampling options found: expected selection.json in it" in capsys.readouterr().err
    Path("version/training.safetensors").unlink()
    with pytest.raises(SystemExit):
        run(monkeypatch, base, "version", "--name=v0.0.1")
    assert "version: training.safetensors is missing, so nothing can continue" in capsys.readouterr().err
    assert read_json("models/base/base.json") == {"name": "small"}  # as it was


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_new_class_is_learned_from_new_and_replayed_images(based, monkeypatch, capsys, kind):
    with_a_class_more()
    frozen = ["generator.basis"] if kind == "full" else []
    change_params(finetune={"kind": kind, "images": "replay", "replay_share": 0.25, "frozen": frozen})
    run(monkeypatch, finetune)
    said = capsys.readouterr().out
    assert "models/base: 1 new class, starting as the mean of the others: both" in said
    assert "60 new images of 300 to train on" in said
    rates = "learning_rate_share 0.75, class_rate 13.3" if kind == "full" else "learning_rate_share 1, class_rate 10"
    assert f"finetune: auto is {rates}, because classes are new" in said
    description = read_config(Path("models/finetuned"))
    assert description.shape.classes == MORE
    summary = description.training_summary
    assert summary["started from"] == f"weights {read_config(Path('models/base')).sha256[WEIGHTS_FILE]}"
    assert summary["adapted"].startswith("1 new class")
    assert summary["images"] == 64
    learned = 13.3 if kind == "full" else 10
    assert summary["learning rate of the class embeddings"] == f"{learned} times the last layer's"
    before, after = (load_for_training(Path(f"models/{name}")).state_dict() for name in ("base", "finetuned"))
    assert before.keys() == after.keys()  # an ordinary model, also after LoRA
    assert torch.equal(before["generator.basis"], after["generator.basis"])
    assert not torch.equal(before["generator.head.weight"], after["generator.head.weight"])


def test_images_that_the_base_knows_are_not_held_out_in_silence(based, monkeypatch, capsys):
    """The test split has grown, or the base comes from a workspace with another one."""
    old = load_dataset(Path("data/old"))
    writer = DatasetWriter(
        Path("data/prepared"), image_size=ImageSize.square(SIZE), channels=1, classes=old.info.classes, shard_images=999
    )
    rows = old.rows("train")
    for split, chosen in (("train", rows[:-7]), ("test", rows[-7:])):
        writer.add(split, old.images_at(chosen), chosen["label"].to_numpy())
    writer.finish()
    change_params(finetune={"images": "replay"})
    run(monkeypatch, finetune)
    said = (
        "models/base: trained on 7 of the 7 images that are held out now, so figures from held-out images are too good"
    )
    out = capsys.readouterr().out
    assert said in out
    # Nothing is new either, which neither the log nor the card hides.
    assert f"0 new images of {len(rows) - 7} to train on; without new ones, replay uses each old one once" in out
    summary = read_config(Path("models/finetuned")).training_summary
    assert summary["learned from"] == "old images, because none was new to it"
    assert summary["held-out images that these weights were trained on"] == 7


def test_the_optimizer_goes_on_but_for_weights_of_classes(based, monkeypatch, capsys):
    shutil.copytree("data/old", "data/prepared")
    run(monkeypatch, finetune)
    write_selection("continued", "models/finetuned", "small")
    run(monkeypatch, base, "continued", "--name=continued", "--data=data/old")
    shutil.rmtree("data/prepared")
    with_a_class_more()
    change_params(finetune={"optimizer": "restored"})
    capsys.readouterr()
    run(monkeypatch, finetune)
    said = capsys.readouterr().out
    assert "finetune.optimizer: restored, but fresh for discriminator.score." in said
    assert "generator.class_embedding.weight" in said


def test_low_rank_changes_need_a_layer_that_is_not_frozen(based, monkeypatch, capsys):
    shutil.copytree("data/old", "data/prepared")
    change_params(finetune={"kind": "lora", "frozen": ["*.weight"]})
    with pytest.raises(SystemExit):
        run(monkeypatch, finetune)
    assert "nothing of the discriminator is left to train; freeze less" in capsys.readouterr().err


def test_nothing_new_is_an_error_that_says_what_to_do(based, monkeypatch, capsys):
    shutil.copytree("data/old", "data/prepared")
    change_params(finetune={"images": "new"})
    with pytest.raises(SystemExit):
        run(monkeypatch, finetune)
    assert "there is nothing new; use images: all, or add images" in capsys.readouterr().err


def test_the_augmented_split(based, monkeypatch):
    make_dataset(Path("data/augmented"), train=100)
    change_params(finetune={"dataset": "augmented"})
    run(monkeypatch, finetune)
    fingerprint = load_dataset(Path("data/augmented")).info.fingerprint
    assert read_config(Path("models/finetuned")).dataset == fingerprint


def test_the_base_is_measured_too_and_kept_if_the_other_is_worse(based, monkeypatch, capsys):
    shutil.copytree("data/old", "data/prepared")
    extractor.main()
    reference.main()
    write_model("models/finetuned", seed=1)
    run(monkeypatch, evaluate, "finetuned")
    values = read_json("metrics/finetuned.json")
    found = values["base"]["difference"]["fd_classifier"]
    own, others = (figures["fd_classifier"] for figures in (values, values["base"]["figures"]))
    assert found["value"] == pytest.approx(own - others, abs=1e-3)
    run(monkeypatch, candidate)
    chosen = read_json("models/candidate/selection.json")
    kept = found["low"] > 0
    assert chosen["model"] == ("v0.0.1" if kept else "finetuned")
    assert chosen["figures"]["fd_classifier"] == (others if kept else own)
    assert Path("models/candidate/card.md").read_text().count("## Licence") == 1
    assert not Path("models/candidate/base.json").exists()  # which is about models/base


def measured(name, **figures):
    return MeasuredModel(name, "gan", Path(name), figures, {}, {"extractor": "classifier"})


@pytest.mark.parametrize(
    ("low", "high", "chosen", "why"),
    [
        (0.1, 0.5, "v1", "v1 is kept: fine-tuned, it is worse by more than the noise: fd_classifier +0.3"),
        (-0.1, 0.7, "finetuned", "finetuned is not worse than v1, which it continues"),
        (-0.7, -0.1, "finetuned", "finetuned is better than v1"),
    ],
)
def test_the_noise_decides(low, high, chosen, why):
    difference = {"fd_classifier": {"value": 0.3, "low": low, "high": high}}
    values = {"figures": {"fd_classifier": 1.0}, "difference": difference}
    choice = against_base(measured("finetuned", fd_classifier=1.3), measured("v1"), values, "fd_auto")
    assert (choice.chosen.name, choice.metric) == (chosen, "fd_classifier")
    assert why in choice.reason


def test_a_base_of_other_classes_cannot_be_compared():
    choice = against_base(measured("finetuned", fd_classifier=9.0), measured("v1"), None, "fd_classifier")
    assert choice.chosen.name == "finetuned"
    assert choice.reason.endswith("; its base, v1, draws other classes")

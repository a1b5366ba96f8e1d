"""The steps of a retraining: what is wrong with the settings is found before the first run."""

from pathlib import Path

import pytest

from flows.retraining import RetrainError, steps
from flows.retraining.facts import read_situation
from flows.retraining.steps import Work
from flows.retraining.worktree import Purpose
from flows.runs.checkout import open_worktree
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS
from tests.flows.retrain_home import setting

pytestmark = DVC_WARNS


def refused(home: Path, error: type[Exception], message: str) -> None:
    """Check that setting up a fine-tuning of v0.0.1 ends with this error and leaves no base."""
    situation = read_situation(home)
    tree = open_worktree(home, "HEAD", "retrain/x")
    purpose = Purpose(situation.start.commit, situation.start.raw, "v0.0.1", "finetune")
    with pytest.raises(error, match=message):
        steps.set_up.fn(Work(home, situation, tree, purpose))
    assert not (tree.folder / "models/base").exists()


def test_settings_that_no_few_step_model_of_a_base_may_have_are_found_before_the_first_run(home: Path) -> None:
    setting(home, "finetune.kind", "few_step")
    setting(home, "finetune.images", "new")  # allowed for the selected model, which knows all images
    refused(home, ConfigError, "finetune: images: got new; allowed: all with kind few_step")


def test_no_few_step_model_is_made_of_a_gan(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gan").mkdir()
    (tmp_path / "gan/config.json").write_text('{"family": "gan"}')
    monkeypatch.setattr(steps, "lay_out_champion", lambda *_: tmp_path / "gan")  # the toy's is of a diffusion model
    setting(home, "finetune.kind", "few_step")
    refused(home, RetrainError, r"for diffusion models only, and v0\.0\.1 is none; set it to full or lora")

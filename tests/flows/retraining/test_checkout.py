"""The line of params.yaml that a retraining sets, and what it took by the cost files."""

import json
from datetime import date
from pathlib import Path

import pytest

from flows.retraining.checkout import _free_name, set_start
from flows.retraining.cost import device_hours_at, device_hours_since
from flows.retraining.source import RetrainError
from flows.runs.checkout import Worktree
from genai_core.config import load_config
from tests.flows.conftest import ROOT, shell


def test_one_word_changes(tmp_path: Path) -> None:
    tree = Worktree(tmp_path, "retrain/x", taken_up=False)
    before = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(before)
    set_start(tree, "champion")
    text = (tmp_path / "params.yaml").read_text()
    assert load_config(tmp_path / "params.yaml").finetune.start == "champion"
    assert text.replace("start: champion", "start: selected", 1) == before
    set_start(tree, "champion")
    assert (tmp_path / "params.yaml").read_text() == text
    set_start(tree, "selected")
    assert (tmp_path / "params.yaml").read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        "finetune: {start: selected}\n",
        "finetune:\n  seed: 1\nother:\n  start: selected\n",
        "other:\n  start: selected\n",
    ],
)
def test_a_line_that_is_not_there_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(RetrainError, match=r"finetune\.start has no line of its own"):
        set_start(Worktree(tmp_path, "retrain/x", taken_up=False), "champion")
    assert (tmp_path / "params.yaml").read_text() == text


def test_a_name_that_no_clone_has_taken(tmp_path: Path) -> None:
    shell(tmp_path, "git init -q -b main && git commit -q --allow-empty -m first")
    day, raw = date(2026, 11, 28), "0123456789abcdef.dir"
    assert _free_name(tmp_path, day, raw) == "retrain/2026-11-28-0123456789"
    shell(tmp_path, "git branch retrain/2026-11-28-0123456789")
    shell(tmp_path, "git update-ref refs/remotes/origin/retrain/2026-11-28-0123456789-2 HEAD")
    assert _free_name(tmp_path, day, raw) == "retrain/2026-11-28-0123456789-3"


def test_hours_of_the_stages_that_ran_since(tmp_path: Path) -> None:
    costs = tmp_path / "metrics/cost"
    costs.mkdir(parents=True)

    def write(stage: str, **cost: float) -> None:
        (costs / f"{stage}.json").write_text(json.dumps(cost))

    write("prepare", seconds=3600)
    write("train@gan", seconds=7200, device_hours=4.0)
    write("generate", seconds=3600)
    shell(tmp_path, "git init -q && git add -A && git commit -q -m first")
    assert device_hours_since(tmp_path, "HEAD") == 0.0
    write("prepare", seconds=1800)
    write("finetune", seconds=60, device_hours=0.25)
    (costs / "broken.json").write_text("")
    assert device_hours_since(tmp_path, "HEAD") == 0.75
    assert device_hours_at(tmp_path, "finetune") == 0.75
    assert device_hours_at(tmp_path, "train") == 4.75
    (costs / "finetune.json").unlink()
    assert device_hours_at(tmp_path, "finetune") is None

"""The evaluations that a search asks a training for."""

import json
from pathlib import Path

import pytest

from flows.search.trial import read_rungs, rung_variables
from genai_core.config import PruningConfig
from genai_core.config.models import GanSampling
from tasks.rungs import RUNGS_DIR, requested_rungs

SAMPLING = GanSampling(truncation=0.8)


def test_a_training_measures_itself_only_if_a_search_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENAI_RUNGS", raising=False)
    assert rung_variables(None) == {}
    asked = []

    def evaluation(images, sampling):
        asked.append((images, sampling))
        return lambda _model: float(images)

    assert requested_rungs("train@gan", SAMPLING, evaluation) is None
    assert not RUNGS_DIR.exists()

    for name, value in rung_variables(PruningConfig(first_share=0.1, reduction=3, images=40)).items():
        monkeypatch.setenv(name, value)
    rungs = requested_rungs("train@gan", SAMPLING, evaluation)
    assert rungs is not None
    assert asked == [(40, SAMPLING)]  # as the trial is measured in the end
    assert rungs.shares == pytest.approx((0.1, 0.3))
    assert rungs.how == {"generated": 40, "sampling": {"truncation": 0.8}}
    rungs.report(0.2, 800, 0.5)
    path = RUNGS_DIR / "train@gan.jsonl"
    assert json.loads(path.read_text()) == {"share": 0.2, "images": 800, "distance": 0.5}
    assert read_rungs(path) == {0.2: 0.5}  # as the search reads it

"""The evaluations that a search asks a training for."""

import json
from pathlib import Path

import pytest

from flows.search.trial import rung_variables, rungs_of
from genai_core.config import PruningConfig
from genai_core.config.models import GanSampling
from genai_core.progress import Progress
from tasks.rungs import requested_rungs

SAMPLING = GanSampling(truncation=0.8)


def test_a_training_measures_itself_only_if_a_search_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress.json"
    progress = Progress(path, silent=True)
    monkeypatch.delenv("GENAI_RUNGS", raising=False)
    assert rung_variables(None) == {}
    asked = []

    def evaluation(images, sampling):
        asked.append((images, sampling))
        return lambda _model: float(images)

    assert requested_rungs(progress, SAMPLING, evaluation) is None
    progress.begin("train", total=4000, unit="images")
    assert rungs_of(json.loads(path.read_text())) == {}

    for name, value in rung_variables(PruningConfig(first_share=0.1, reduction=3, images=40)).items():
        monkeypatch.setenv(name, value)
    rungs = requested_rungs(progress, SAMPLING, evaluation)
    assert rungs is not None
    assert asked == [(40, SAMPLING)]  # as the trial is measured in the end
    assert rungs.shares == pytest.approx((0.1, 0.3))
    assert rungs.how == {"generated": 40, "sampling": {"truncation": 0.8}}
    progress.update(400)
    rungs.report(0.1, 400, 0.9)
    rungs.report(0.3, 1200, 0.5)
    progress.update(4000)
    state = json.loads(path.read_text())
    assert state["done"] == 4000
    assert state["rungs"][0] == {"share": 0.1, "images": 400, "distance": 0.9}
    assert rungs_of(state) == {0.1: 0.9, 0.3: 0.5}  # as the search reads it

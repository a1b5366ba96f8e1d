"""Progress reports of long computations."""

import json

import pytest

from genai_core.progress import Progress


def test_time_left_follows_the_limit_that_is_reached_first(tmp_path, monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    path = tmp_path / "progress.json"
    progress = Progress(path, file_interval_s=0, line_interval_s=0)
    progress.begin("train", total=1000, unit="images")
    now[0] += 10
    for budget_s, left in ((None, 90.0), (200.0, 90.0), (30.0, 30.0), (-0.5, 0.0)):
        progress.update(100, {"loss": 0.5}, budget_s=budget_s)
        assert json.loads(path.read_text())["seconds_left"] == pytest.approx(left)
        said = capsys.readouterr().out.splitlines()[-1]
        assert said == f"train: 100 of 1,000 images, 10 images/s, {left:.0f} s left, loss 0.5"

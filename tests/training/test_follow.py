import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from genai_core.training.follow import FollowedRun, Followers, open_followers
from tests.test_rooms import ROOT

PREVIEWS = np.arange(2 * 1 * 8 * 8, dtype=np.uint8).reshape(2, 1, 8, 8)


def followed(folder):
    return FollowedRun("train@gan-0123456789abcdef", folder, {"recipe": {"family": "gan"}})


class Recorder:
    def __init__(self, broken=False):
        self.calls, self.broken = [], broken

    def scalars(self, images, values):
        if self.broken:
            raise ConnectionError("no route to host")
        self.calls.append(("scalars", images, dict(values)))

    def previews(self, images, previews):
        self.calls.append(("previews", images, previews.shape))

    def close(self):
        self.calls.append(("close",))


def test_scalars_are_rate_limited_except_the_last_of_a_section():
    recorder = Recorder()
    with Followers([recorder]) as followers:
        for images in range(1, 1000):
            followers.scalars(images, {"loss": 1.0})
        followers.scalars(1000, {"loss": 0.5}, last=True)
        followers.previews(1000, PREVIEWS)
    assert [call[:2] for call in recorder.calls] == [
        ("scalars", 1),
        ("scalars", 1000),
        ("previews", 1000),
        ("close",),
    ]


def test_a_failing_follower_is_disabled_and_the_run_continues(capsys):
    broken, working = Recorder(broken=True), Recorder()
    with Followers([broken, working]) as followers:
        followers.scalars(1, {"loss": 1.0}, last=True)
        followers.scalars(2, {"loss": 1.0}, last=True)
    assert len(working.calls) == 3
    assert broken.calls == []
    assert "Recorder failed and is disabled from here on: no route to host" in capsys.readouterr().out


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"compute.follow contains wandb.*pip install genai-pipeline\[wandb\]"):
        open_followers(["wandb"], followed(tmp_path))


def show(folder, *names):
    """Report a resumed run in a separate process, because these libraries start threads and warn."""
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from genai_core.training.follow import FollowedRun, open_followers\n"
        "run = FollowedRun('train@gan-0123456789abcdef', Path(sys.argv[1]), {'recipe': {'family': 'gan'}})\n"
        "for first in (0, 300):\n"
        "    with open_followers(sys.argv[2:], run) as followers:\n"
        "        for images in (100, 200, 300):\n"
        "            followers.scalars(first + images, {'loss': 10.0 / images}, last=True)\n"
        "        followers.previews(first + 300, np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    answer = subprocess.run(
        [sys.executable, "-c", code, str(folder), *names],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "failed" not in answer.stdout, answer.stdout


def test_every_follower_continues_a_resumed_run(tmp_path):
    show(tmp_path, "tensorboard", "dvclive", "wandb")
    name = "train@gan-0123456789abcdef"
    events = EventAccumulator(str(tmp_path / "tensorboard" / name))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [100, 200, 300, 400, 500, 600]
    assert [event.step for event in events.Images("samples")] == [300, 600]

    live = tmp_path / "dvclive" / name
    rows = (live / "plots/metrics/loss.tsv").read_text().splitlines()
    assert rows[0].split() == ["step", "loss"]
    assert [int(row.split()[0]) for row in rows[1:]] == [100, 200, 300, 400, 500, 600]
    assert json.loads((live / "metrics.json").read_text())["loss"] == pytest.approx(10 / 300)
    assert (live / "plots/images/samples.png").is_file()

    runs = list((tmp_path / "wandb").rglob("*.wandb"))
    assert len(runs) == 2  # offline, a resumed run is a second file; `wandb sync` joins them by the run's id
    assert all(run.stat().st_size > 1000 for run in runs)
    assert list((tmp_path / "wandb").rglob("media/images/*.png"))

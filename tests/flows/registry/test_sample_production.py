"""Sampling from production with the real task and a tiny model: a killed run does not block later ones."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from flows.registry.production import ProductionError
from flows.registry.sample_production import check_count
from tests.flows.conftest import DVC_WARNS, ROOT, Server, genai
from tests.flows.model_home import make, new_home

pytestmark = DVC_WARNS

DRAW = """
import os, signal, sys

from flows.registry import sample_production as drawing

if sys.argv[2] == "killed":  # the images are whole, and nothing says yet whose they are
    drawing.sign = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
drawing.sample_production(sys.argv[1], total_images=4)
"""


def draw(home: Path, how: str, api_url: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PREFECT_API_URL": api_url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DRAW, str(home), how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.long
def test_kill_between_the_images_and_their_provenance(tmp_path: Path, server: Server) -> None:
    home = new_home(tmp_path / "home")
    make(home, 3.0)
    answer = genai(home, "promote")
    assert answer.returncode == 0, answer.stderr
    shutil.copy(ROOT / "params.yaml", home)
    assert draw(home, "killed", server.url).returncode == -signal.SIGKILL
    batches = home / "samples/production"
    assert not batches.exists()
    answer = draw(home, "whole", server.url)
    assert answer.returncode == 0, answer.stderr
    (batch,) = batches.iterdir()
    origin = json.loads((batch / "provenance.json").read_text())
    assert (origin["production"]["version"], origin["images"]) == ("v0.0.1", 4)
    assert len(pd.read_parquet(batch / "manifest.parquet")) == 4
    assert [path.name for path in (home / ".genai/production/v0.0.1/.genai/scratch").iterdir()] == [".lock"]
    check_count(batch, 4)
    with pytest.raises(ProductionError, match=r"already exists with 4 images, and 5 were requested"):
        check_count(batch, 5)

import shutil
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty workspace with the project's params.yaml, as the current folder."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    # A task installs its own handler.
    signal.signal(signal.SIGTERM, handler)

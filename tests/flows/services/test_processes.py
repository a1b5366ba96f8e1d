import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.services import processes
from flows.services.deployment_file import ServicesError
from flows.services.local import down
from flows.services.processes import Service, State, exclusive, write_state


def test_down_stops_no_other_process(tmp_path: Path) -> None:
    """Another process has the id by now, as its start time shows."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        try:
            began = psutil.Process(other.pid).create_time()
            write_state(tmp_path, State("http://127.0.0.1:1/api", (Service("server", other.pid, began - 100.0),)))
            assert down(tmp_path) == ()
            assert other.poll() is None
            write_state(tmp_path, State("http://127.0.0.1:1/api", (Service("server", other.pid, began),)))
            assert down(tmp_path) == ("server",)
        finally:
            other.kill()
    (tmp_path / ".genai" / "services.json").write_text("{cut sho")
    assert down(tmp_path) == ()


def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOCK_TIMEOUT_S", 0.1)
    with exclusive(tmp_path), pytest.raises(ServicesError, match="another `genai up` or `genai down` is running"):
        down(tmp_path)
    assert down(tmp_path) == ()

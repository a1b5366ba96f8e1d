"""`genai watch`: which server it announces new data at."""

import os
from pathlib import Path

import psutil
import pytest

from flows.services.processes import Service, State, write_state
from flows.services.server import ServerError
from flows.watching.cli import _announce


def test_server_that_was_moved_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is not remembered from the last time."""
    monkeypatch.chdir(tmp_path)
    service = Service("server", os.getpid(), psutil.Process().create_time())
    for port in (9, 10):  # where no server answers
        write_state(tmp_path, State(f"http://127.0.0.1:{port}/api", (service,)))
        with pytest.raises(ServerError, match=rf"no Prefect server answers at http://127\.0\.0\.1:{port}/api"):
            _announce(tmp_path)
    assert "PREFECT_API_URL" not in os.environ

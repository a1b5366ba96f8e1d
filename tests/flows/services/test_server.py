"""Which Prefect server a run reports to, without importing prefect."""

import os
from pathlib import Path

import pytest

from flows.services.server import ServerError, configured_api_url, ensure_prefect_api
from flows.services.silence import SILENCE_S

PROFILES = """
active = "office"
[profiles.office]
PREFECT_API_URL = "http://office:4200/api"
[profiles.home]
PREFECT_LOGGING_LEVEL = "DEBUG"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return tmp_path


def test_no_server_is_configured(home: Path) -> None:
    assert configured_api_url() is None
    (home / "profiles.toml").write_text("")
    assert configured_api_url() is None
    (home / "profiles.toml").write_text("active = [")
    assert configured_api_url() is None
    (home / "profiles.toml").write_text('active = "gone"\n')
    assert configured_api_url() is None


def test_the_active_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "profiles.toml").write_text(PROFILES)
    assert configured_api_url() == "http://office:4200/api"
    monkeypatch.setenv("PREFECT_PROFILE", "home")
    assert configured_api_url() is None
    monkeypatch.delenv("PREFECT_PROFILE")
    monkeypatch.setenv("PREFECT_API_URL", "http://other/api")
    assert configured_api_url() == "http://other/api"


def test_a_profiles_file_somewhere_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "elsewhere.toml").write_text(PROFILES)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(home / "elsewhere.toml"))
    assert configured_api_url() == "http://office:4200/api"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "http://no-such-host.invalid/api", "not an address"])
def test_a_server_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.delenv("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", raising=False)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with pytest.raises(ServerError, match="no Prefect server answers at"):
        ensure_prefect_api()
    # Prefect's own pulse, 180 s, would have a run of the command line called dead by `genai up`'s automation.
    assert float(os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) < SILENCE_S / 2

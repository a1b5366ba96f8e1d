"""What `genai up` prints for clients: the address, and the auth string's variable when one is set."""

from pathlib import Path

import pytest

from flows.services.cli import client_variables

URL = "http://127.0.0.1:4200/api"


def test_address_is_enough_without_an_auth_string(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert client_variables(URL) == [f"export PREFECT_API_URL={URL}"]


def test_secret_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PREFECT_SERVER_API_AUTH_STRING=me:secret\n")
    line = client_variables(URL)[1]
    assert line.startswith("export PREFECT_API_AUTH_STRING=USER:PASSWORD  #")
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:secret")
    assert client_variables(URL)[1] == 'export PREFECT_API_AUTH_STRING="$PREFECT_SERVER_API_AUTH_STRING"'

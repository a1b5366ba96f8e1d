"""The server's address and credentials: found without prefect, and the same as Prefect itself finds."""

import itertools
import json
import random
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from flows.services.settings import (
    AUTH,
    HEADERS,
    KEY,
    SERVER_AUTH,
    URL,
    Credentials,
    SettingsError,
    configured_api_url,
    credentials_for,
    prefect_home,
    server_auth,
    setting,
    tls_context,
)

PLACES = ("environment", ".env", "prefect.toml", "pyproject.toml", "profile")
TABLES = {
    URL: ("api", "url"),
    AUTH: ("api", "auth_string"),
    KEY: ("api", "key"),
    SERVER_AUTH: ("server", "api", "auth_string"),
    HEADERS: ("client", "custom_headers"),
}
HERE = "http://127.0.0.1:4200/api"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a Prefect home without profiles."""
    for name in (*TABLES, "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, values: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write each (place, name); the previous content of the places is removed."""
    lines: dict[str, list[str]] = {place: [] for place in PLACES}
    for name in TABLES:
        monkeypatch.delenv(name, raising=False)
    for (place, name), value in values.items():
        *table, key = TABLES[name]
        if place == "environment":
            monkeypatch.setenv(name, value)
        elif place in (".env", "profile"):
            lines[place].append(f"{name}={json.dumps(value)}")
        else:
            head = ["tool", "prefect", *table] if place == "pyproject.toml" else table
            lines[place] += [f"[{'.'.join(head)}]" * (f"[{'.'.join(head)}]" not in lines[place])]
            index = lines[place].index(f"[{'.'.join(head)}]")
            lines[place].insert(index + 1, f"{key} = {json.dumps(value)}")
    for place in PLACES[1:4]:
        (folder / place).write_text("\n".join(lines[place]))
    (folder / "home/profiles.toml").write_text("\n".join(['active = "a"', "[profiles.a]", *lines["profile"]]))


def value_of(place: str, name: str, number: int) -> str:
    if name == HEADERS:
        return json.dumps({"X-Place": place})
    return f"http://{place.strip('.')}/{number}" if name == URL else f"u:{place}"


def prefects_own() -> dict[str, Any]:
    from prefect.settings import Settings, sources

    sources._file_cache.clear()  # it knows files by the time of their last change
    found = Settings()
    values = (found.api.url, found.api.auth_string, found.api.key, found.server.api.auth_string)
    plain = [value.get_secret_value() if isinstance(value, SecretStr) else value for value in values]
    headers = json.dumps(found.client.custom_headers) if found.client.custom_headers else None
    return {name: value or None for name, value in zip(TABLES, (*plain, headers), strict=True)}


def test_places_are_read_in_prefects_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    choices = list(itertools.product(PLACES, TABLES))
    for number in range(60):
        chosen = choices if number == 0 else chance.sample(choices, chance.randint(0, 10))
        values = {(place, name): value_of(place, name, number) for place, name in chosen}
        write(folder, values, monkeypatch)
        assert {name: setting(name) for name in TABLES} == prefects_own(), values
    write(folder, {("environment", URL): "", ("profile", URL): "http://p/api"}, monkeypatch)
    assert configured_api_url() is None
    assert prefects_own()[URL] is None


def test_location_of_home_and_profiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import Settings, sources

    (folder / "elsewhere.toml").write_text('active = "x"\n[profiles.x]\nPREFECT_API_KEY = "x"\n')
    for name, text in (
        (".env", "PREFECT_PROFILES_PATH=elsewhere.toml"),
        ("prefect.toml", 'profiles_path = "elsewhere.toml"'),
    ):
        (folder / name).write_text(text)
        assert (setting(KEY), prefects_own()[KEY]) == ("x", "x")
        (folder / name).unlink()
        assert (setting(KEY), prefects_own()[KEY]) == (None, None)
    (folder / ".env").write_text("prefect_profiles_path=elsewhere.toml\nprefect_api_key=k")
    assert (setting(KEY), prefects_own()[KEY]) == ("k", "k")
    monkeypatch.delenv("PREFECT_HOME")
    (folder / "prefect.toml").write_text('home = "~/other"')
    sources._file_cache.clear()
    assert prefect_home() == Settings().home == Path.home() / "other"


def test_invalid_toml(folder: Path) -> None:
    (folder / "home/profiles.toml").write_text("active = [")
    assert setting(URL) is None, "as for Prefect, which only warns"
    (folder / "prefect.toml").write_text("[api")
    with pytest.raises(SettingsError, match=r"prefect\.toml: Prefect's settings cannot be read"):
        setting(URL)


def test_credentials_are_sent_only_to_their_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials_for(HERE) == Credentials()
    monkeypatch.setenv(AUTH, "me:pw")
    assert credentials_for("https://office/api") == Credentials(auth="me:pw"), "no address is set"
    monkeypatch.setenv(URL, "https://office/api")
    monkeypatch.setenv(KEY, "pnu_1")
    assert credentials_for("https://office:443/api").auth is None
    assert credentials_for("https://office/api/") == Credentials("me:pw", "pnu_1")
    for other in ("http://office/api", "https://office.example.org/api", HERE, "http://[bad"):
        assert credentials_for(other) == Credentials()
    monkeypatch.delenv(URL)
    assert credentials_for("https://office/api").key is None


def test_credentials_of_the_users_own_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in docs/deploying.md: one variable, then `genai up`."""
    monkeypatch.setenv(SERVER_AUTH, "own:pw")
    assert server_auth() == "own:pw"
    assert credentials_for(HERE) == Credentials(auth="own:pw")
    assert credentials_for("http://192.168.1.2:4200/api") == Credentials(), "it may be anybody's"
    assert credentials_for("http://192.168.1.2:4200/api", ours=True) == Credentials(auth="own:pw")
    monkeypatch.setenv(URL, HERE)
    monkeypatch.setenv(KEY, "pnu_1")
    assert credentials_for(HERE).auth == "own:pw", "a key of Cloud is nothing for it"
    monkeypatch.setenv(AUTH, "me:pw")
    assert credentials_for(HERE).auth == "me:pw"


def test_headers_are_sent_only_to_the_configured_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import Settings

    (folder / "prefect.toml").write_text('[client]\ncustom_headers = {X-Office = "k", User-Agent = "me"}\n')
    assert Settings().client.custom_headers == {"X-Office": "k", "User-Agent": "me"}
    sent = (("X-Office", "k"),)  # Prefect's client ignores a User-Agent, too
    assert credentials_for(HERE).headers == sent, "no address is set"
    monkeypatch.setenv(URL, "https://office/api")
    assert credentials_for("https://office/api").headers == sent
    assert credentials_for(HERE).headers == ()
    for text, message in (("x", "a JSON object"), ('{"X": 1}', "a JSON object"), ('{"X": "k\\n"}', "'X' has char")):
        monkeypatch.setenv(HEADERS, text)
        with pytest.raises(SettingsError, match=f"{HEADERS}: .*{message}"):
            credentials_for("https://office/api")


def test_certificates_are_checked_as_in_prefects_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import certifi

    assert tls_context(HERE) is None
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with monkeypatch.context() as machine:  # one without certificates
        machine.setattr(ssl, "create_default_context", lambda **_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        context = tls_context("https://office/api")
    assert context is not None
    assert context.check_hostname
    assert len(context.get_ca_certs()) > 10
    monkeypatch.setenv("PREFECT_API_SSL_CERT_FILE", certifi.where())
    context = tls_context("https://office/api")
    assert context is not None
    assert len(context.get_ca_certs()) > 10
    monkeypatch.setenv("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "true")
    context = tls_context("https://office/api")
    assert context is not None
    assert not context.check_hostname


def test_certificates_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "office.pem"
    monkeypatch.setenv("PREFECT_API_SSL_CERT_FILE", str(path))
    with pytest.raises(SettingsError, match=r"PREFECT_API_SSL_CERT_FILE: .*office\.pem cannot be read: No such file"):
        tls_context("https://office/api")
    path.write_text("not a certificate\n")
    with pytest.raises(SettingsError, match=r"office\.pem cannot be read"):
        tls_context("https://office/api")

"""Which Prefect server is meant and how to be let in: Prefect's own settings, from every place that Prefect reads.

Importing prefect for them would cost more than a second, and `genai run` asks each time. A test compares what is found
here with what Prefect finds.
"""

import os
import ssl
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from genai_core import GenaiError

URL, AUTH, KEY = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"
SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"
_HOME, _PROFILES, _PROFILE = "PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_PROFILE"
_CERTIFICATES, _ANY_CERTIFICATE = "PREFECT_API_SSL_CERT_FILE", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY"

# Where a setting stands in prefect.toml, and below [tool.prefect] in pyproject.toml.
_TABLES: dict[str, tuple[str, ...]] = {
    URL: ("api", "url"),
    AUTH: ("api", "auth_string"),
    KEY: ("api", "key"),
    SERVER_AUTH: ("server", "api", "auth_string"),
    _HOME: ("home",),
    _PROFILES: ("profiles_path",),
    _CERTIFICATES: ("api", "ssl_cert_file"),
    _ANY_CERTIFICATE: ("api", "tls_insecure_skip_verify"),
}

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SettingsError(GenaiError):
    """A file with Prefect's settings cannot be read; the message is one line."""


@dataclass(frozen=True)
class Credentials:
    """What lets in: user:password for basic authentication, which counts first, or a key of Prefect Cloud."""

    auth: str | None = None
    key: str | None = None


def setting(name: str) -> str | None:
    """A setting by its variable's name, by Prefect's order: environment, .env, prefect.toml, pyproject.toml, profile.

    Files are looked for where the command was called, as Prefect does. Empty counts as not set. Raises SettingsError.
    """
    value = next(_found(name), None)
    return None if value is None else str(value) or None


def configured_api_url() -> str | None:
    """The address of the user's own server. Raises SettingsError."""
    return setting(URL)


def prefect_home() -> Path:
    """Where Prefect keeps its database and profiles. Raises SettingsError."""
    return Path(setting(_HOME) or "~/.prefect").expanduser()


def server_auth() -> str | None:
    """What a server that this user starts asks for. Raises SettingsError."""
    return setting(SERVER_AUTH)


def credentials_for(url: str, *, ours: bool = False) -> Credentials:
    """What this user has for a server. ours: `genai up` of this checkout started it.

    What is set for the configured address goes to that one only, and a key to no other. A server on this machine for
    which nothing is set is taken to be the user's own. Raises SettingsError.
    """
    configured, own = configured_api_url(), server_auth()
    if ours and own:
        return Credentials(auth=own)
    if configured is None:
        known = Credentials(auth=setting(AUTH))
    elif _server_of(configured) == _server_of(url):
        known = Credentials(setting(AUTH) or _login(configured), setting(KEY))
    else:
        known = Credentials()
    if known.auth is None and own and _server_of(url)[1] in _LOOPBACK:
        return Credentials(auth=own)
    return known


def tls_context(url: str) -> ssl.SSLContext | None:
    """How the server's certificate is looked at, where Prefect's settings say something else than the system."""
    if not url.startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=setting(_CERTIFICATES))
    if (setting(_ANY_CERTIFICATE) or "").lower() in ("1", "true", "yes", "on", "t", "y"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _server_of(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; no host for what is no address."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return "", None, None


def _login(url: str) -> str | None:
    """user:password that stand in an address."""
    login = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return unquote(login) or None


def _found(name: str) -> Iterator[Any]:
    """The values of a setting, the one that counts first."""
    for values in (os.environ, _dot_env()):
        if (value := _any_case(values, name)) is not None:
            yield value
    for file, table in (("prefect.toml", ()), ("pyproject.toml", ("tool", "prefect"))):
        entry: Any = _toml(Path(file))
        for key in (*table, *_TABLES[name]):
            entry = entry.get(key) if isinstance(entry, dict) else None
        if entry is not None and not isinstance(entry, dict):
            yield entry
    if name != _PROFILES and (entry := _profile().get(name)) is not None:
        yield entry


def _any_case(values: Mapping[str, str | None], name: str) -> str | None:
    """Prefect takes a variable's name in any case, but for the one that says where profiles are."""
    if name in values or name == _PROFILES:
        return values.get(name)
    return next((value for key, value in values.items() if key.upper() == name), None)


def _dot_env() -> Mapping[str, str | None]:
    if not Path(".env").is_file():
        return {}
    from dotenv import dotenv_values

    return dotenv_values(".env", encoding="utf-8")


def _profile() -> dict[str, Any]:
    """The active profile; as for Prefect, a file that is no TOML holds none."""
    path = next(_found(_PROFILES), None)
    home = os.environ.get(_HOME)  # of the home in another place Prefect reads no profiles
    file = Path(str(path)) if path else Path(home or Path.home() / ".prefect") / "profiles.toml"
    try:
        profiles = _toml(file)
    except SettingsError:
        return {}
    active = os.environ.get(_PROFILE) or profiles.get("active", "")
    found = profiles.get("profiles", {}).get(active, {})
    return found if isinstance(found, dict) else {}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path.resolve()}: Prefect's settings cannot be read: {error}") from None

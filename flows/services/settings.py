"""Prefect's settings for the server's address and credentials, from every place that Prefect reads.

`genai run` needs them each time, and importing prefect would take more than a second. A test compares the values with
those that Prefect finds.
"""

import json
import os
import re
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
HEADERS = "PREFECT_CLIENT_CUSTOM_HEADERS"
_HOME, _PROFILES, _PROFILE = "PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_PROFILE"
_CERTIFICATES, _ANY_CERTIFICATE = "PREFECT_API_SSL_CERT_FILE", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY"
_CERTIFICATES_OF_OPENSSL = "SSL_CERT_FILE"

# The keys of a setting in prefect.toml, and below [tool.prefect] in pyproject.toml.
_TABLES: dict[str, tuple[str, ...]] = {
    URL: ("api", "url"),
    AUTH: ("api", "auth_string"),
    KEY: ("api", "key"),
    SERVER_AUTH: ("server", "api", "auth_string"),
    HEADERS: ("client", "custom_headers"),
    _HOME: ("home",),
    _PROFILES: ("profiles_path",),
    _CERTIFICATES: ("api", "ssl_cert_file"),
    _ANY_CERTIFICATE: ("api", "tls_insecure_skip_verify"),
}

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADER_NAME, _HEADER_VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"), re.compile(r"[\t -~]*")
_OF_THE_CLIENT = ("user-agent", "prefect-csrf-token", "prefect-csrf-client")  # Prefect ignores these, too


class SettingsError(GenaiError):
    """A file with Prefect's settings cannot be read; the message is one line."""


@dataclass(frozen=True)
class Credentials:
    """user:password for basic authentication, which takes precedence, or an API key of Prefect Cloud.

    headers: (name, value) of the user's own, such as a proxy before the server wants; they replace those of the client.
    """

    auth: str | None = None
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def setting(name: str) -> str | None:
    """A setting by its variable's name, in Prefect's order: environment, .env, prefect.toml, pyproject.toml, profile.

    Files are searched in the current folder, as Prefect does. An empty value counts as unset. Raises SettingsError.
    """
    value = next(_found(name), None)
    if isinstance(value, dict):
        return json.dumps(value)
    return None if value is None else str(value) or None


def configured_api_url() -> str | None:
    """The address of the configured server. Raises SettingsError."""
    return setting(URL)


def prefect_home() -> Path:
    """The folder of Prefect's database and profiles. Raises SettingsError."""
    return Path(setting(_HOME) or "~/.prefect").expanduser()


def server_auth() -> str | None:
    """The auth string that a server started by this user requires. Raises SettingsError."""
    return setting(SERVER_AUTH)


def credentials_for(url: str, *, ours: bool = False) -> Credentials:
    """This user's credentials for a server. ours: `genai up` of this checkout started it.

    The credentials of the configured address, including key and headers, are sent to that address only. A server on
    this machine without configured credentials is assumed to be the user's own. Raises SettingsError.
    """
    configured, own = configured_api_url(), server_auth()
    if ours and own:
        return Credentials(auth=own)
    if configured is None:
        known = Credentials(auth=setting(AUTH), headers=_custom_headers())
    elif _server_of(configured) == _server_of(url):
        known = Credentials(setting(AUTH) or _login(configured), setting(KEY), _custom_headers())
    else:
        known = Credentials()
    if known.auth is None and own and _server_of(url)[1] in _LOOPBACK:
        return Credentials(auth=own, headers=known.headers)
    return known


def tls_context(url: str) -> ssl.SSLContext | None:
    """The TLS context with Prefect's settings for certificates; None for plain HTTP. Raises SettingsError.

    Without a setting, the certificates of this machine are trusted, and those that Prefect's client trusts: a container
    or a Python from python.org may have none.
    """
    if not url.startswith("https:"):
        return None
    certificates = setting(_CERTIFICATES)
    try:
        context = ssl.create_default_context(cafile=certificates)
        if certificates is None and _CERTIFICATES_OF_OPENSSL not in os.environ:
            import certifi  # Prefect's client needs it

            context.load_verify_locations(certifi.where())
    except OSError as error:  # also ssl.SSLError: not a file of certificates
        raise SettingsError(
            f"{_CERTIFICATES}: the certificates in {certificates} cannot be read: {error.strerror or error}"
        ) from None
    if (setting(_ANY_CERTIFICATE) or "").lower() in ("1", "true", "yes", "on", "t", "y"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _custom_headers() -> tuple[tuple[str, str], ...]:
    text = setting(HEADERS)
    if text is None:
        return ()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SettingsError(f'{HEADERS}: expected a JSON object of texts, such as {{"X-Office": "key"}}')
    for name, value in found.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise SettingsError(f"{HEADERS}: the header {name!r} has characters that HTTP cannot send")
    return sent_headers(found)


def sent_headers(custom: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The (name, value) of those of the user's headers that are sent."""
    return tuple((name, value) for name, value in custom.items() if name.lower() not in _OF_THE_CLIENT)


def _server_of(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; the host is None if the address is invalid."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return "", None, None


def _login(url: str) -> str | None:
    """The user:password in an address; None if there is none."""
    login = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return unquote(login) or None


def _found(name: str) -> Iterator[Any]:
    """The values of a setting, the one with the highest precedence first."""
    for values in (os.environ, _dot_env()):
        if (value := _any_case(values, name)) is not None:
            yield value
    for file, table in (("prefect.toml", ()), ("pyproject.toml", ("tool", "prefect"))):
        entry: Any = _toml(Path(file))
        for key in (*table, *_TABLES[name]):
            entry = entry.get(key) if isinstance(entry, dict) else None
        if entry is not None and (name == HEADERS or not isinstance(entry, dict)):
            yield entry
    if name != _PROFILES and (entry := _profile().get(name)) is not None:
        yield entry


def _any_case(values: Mapping[str, str | None], name: str) -> str | None:
    """Prefect ignores case in a variable's name, except in PREFECT_PROFILES_PATH."""
    if name in values or name == _PROFILES:
        return values.get(name)
    return next((value for key, value in values.items() if key.upper() == name), None)


def _dot_env() -> Mapping[str, str | None]:
    if not Path(".env").is_file():
        return {}
    from dotenv import dotenv_values

    return dotenv_values(".env", encoding="utf-8")


def _profile() -> dict[str, Any]:
    """The active profile; empty if the file is not valid TOML, as in Prefect."""
    path = next(_found(_PROFILES), None)
    home = os.environ.get(_HOME)  # Prefect reads the home for profiles from the environment only
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

"""Prefect's API over plain HTTP, for commands that send one request. Importing prefect would take a second."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ssl import SSLContext
from typing import Any
from uuid import uuid4

from flows.redact import without_secrets
from flows.services.settings import AUTH, HEADERS, KEY, URL, Credentials, credentials_for, tls_context
from flows.web import StatusError, WebError, basic, date_of, send
from genai_core import GenaiError

# Prefect's server answers this while another request holds its SQLite; the request is rolled back. Prefect's client
# retries, too.
_BUSY = 503
_BUSY_WAITS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 4.0)
UNAUTHORISED, FORBIDDEN, NOT_FOUND = 401, 403, 404
_HINTS = {
    UNAUTHORISED: f"set {AUTH} to the server's user:password, or {URL} and {KEY} for Prefect Cloud",
    FORBIDDEN: f"if a proxy before the server wants headers, set {HEADERS}",
}
_USER_AGENT = "genai-pipeline"  # some firewalls refuse urllib's own


class ApiError(GenaiError):
    """The server did not answer, refused the request, or stayed busy; the message is one line.

    status: the HTTP status; None: no Prefect server answered.
    """

    def __init__(self, url: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{without_secrets(url)}: {reason}")
        self.reason, self.status = reason, status


class CsrfToken:
    """What a server with PREFECT_SERVER_CSRF_PROTECTION_ENABLED demands with each change.

    A token is asked for when the server refuses a request without one, or with one that has expired: most servers have
    no such protection. A new token replaces the one of the same client, so all threads use one.
    """

    def __init__(self) -> None:
        self._client, self._lock = str(uuid4()), threading.Lock()
        self._token: str | None = None

    def headers(self) -> Mapping[str, str]:
        token = self._token
        return {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": self._client} if token else {}

    def renew(self, refused: Mapping[str, str], get: Callable[[str], Any]) -> None:
        """Ask for another token than those headers have, unless another thread has done it. Raises ApiError."""
        with self._lock:
            if self.headers() == refused:
                self._token = str(get(f"csrf-token?client={self._client}")["token"])


@dataclass(frozen=True)
class Api:
    """A server: its address (http://127.0.0.1:4200/api) and the credentials for it."""

    url: str
    credentials: Credentials = field(default_factory=Credentials)
    _csrf: CsrfToken = field(default_factory=CsrfToken, init=False, repr=False, compare=False)

    def get(self, path: str, timeout_s: float = 10.0) -> Any:
        """Raises ApiError."""
        return self._ask("GET", path, None, timeout_s)

    def post(self, path: str, **body: Any) -> Any:
        """Raises ApiError."""
        return self._ask("POST", path, body)

    def post_all(self, path: str, items: Sequence[dict[str, Any]]) -> Any:
        """Send a list. Raises ApiError."""
        return self._ask("POST", path, items)

    def put(self, path: str, **body: Any) -> Any:
        """Raises ApiError."""
        return self._ask("PUT", path, body)

    def patch(self, path: str, **body: Any) -> Any:
        """Raises ApiError."""
        return self._ask("PATCH", path, body)

    def date(self) -> str:
        """The server's clock, as a Date header. Raises ApiError."""
        try:
            return date_of(f"{self.url}/health", headers=self._headers(), timeout_s=10.0, context=self._tls)
        except WebError as error:
            raise ApiError(self.url, str(error)) from None

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | Sequence[dict[str, Any]] | None, timeout_s: float = 10.0
    ) -> Any:
        address, content = f"{self.url}/{path}", None if body is None else json.dumps(body).encode()
        waits, renewed = iter(_BUSY_WAITS_S), False
        while True:
            csrf = {} if method == "GET" else self._csrf.headers()
            typed = {} if body is None else {"Content-Type": "application/json"}
            headers = {**typed, **self._headers(), **csrf}
            try:
                answer = send(address, content, method=method, headers=headers, timeout_s=timeout_s, context=self._tls)
                return json.loads(answer or b"null")
            except StatusError as error:
                if error.status == _BUSY and (wait_s := next(waits, None)) is not None:
                    time.sleep(wait_s)
                    continue
                if error.status == FORBIDDEN and "CSRF token" in error.detail and not renewed:
                    renewed = True
                    self._csrf.renew(csrf, self.get)
                    continue
                hint = f"; {_HINTS[error.status]}" if error.status in _HINTS else ""
                raise ApiError(self.url, f"status {error.status} for {path}{hint}", error.status) from None
            except WebError as error:
                raise ApiError(self.url, str(error)) from None
            except ValueError:
                raise ApiError(self.url, "the answer is not JSON, so this is not a Prefect server") from None

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": _USER_AGENT}
        if self.credentials.auth:
            headers["Authorization"] = basic(self.credentials.auth)
        elif self.credentials.key:
            headers["Authorization"] = f"Bearer {self.credentials.key}"
        return headers | dict(self.credentials.headers)

    @cached_property
    def _tls(self) -> SSLContext | None:
        return tls_context(self.url)


def api_at(url: str, *, ours: bool = False) -> Api:
    """The server at an address, with this user's credentials. ours: `genai up` started it. Raises SettingsError."""
    return Api(url.rstrip("/"), credentials_for(url, ours=ours))

"""Prefect's API over plain HTTP, for commands that send one request. Importing prefect would take a second."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.redact import without_secrets
from flows.services.settings import AUTH, KEY, URL, Credentials, credentials_for, tls_context
from flows.web import StatusError, WebError, basic, send
from genai_core import GenaiError

# Prefect's server answers this while another request holds its SQLite; the request is rolled back. Prefect's client
# retries, too.
_BUSY = 503
_BUSY_WAITS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 4.0)
UNAUTHORISED, NOT_FOUND = 401, 404
_AUTH_HINT = f"set {AUTH} to the server's user:password, or {URL} and {KEY} for Prefect Cloud"


class ApiError(GenaiError):
    """The server did not answer, refused the request, or stayed busy; the message is one line.

    status: the HTTP status; None: no Prefect server answered.
    """

    def __init__(self, url: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{without_secrets(url)}: {reason}")
        self.reason, self.status = reason, status


@dataclass(frozen=True)
class Api:
    """A server: its address (http://127.0.0.1:4200/api) and the credentials for it."""

    url: str
    credentials: Credentials = field(default_factory=Credentials)

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

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | Sequence[dict[str, Any]] | None, timeout_s: float = 10.0
    ) -> Any:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.credentials.auth:
            headers["Authorization"] = basic(self.credentials.auth)
        elif self.credentials.key:
            headers["Authorization"] = f"Bearer {self.credentials.key}"
        content, context = None if body is None else json.dumps(body).encode(), tls_context(self.url)
        waits = iter(_BUSY_WAITS_S)
        while True:
            try:
                answer = send(
                    f"{self.url}/{path}", content, method=method, headers=headers, timeout_s=timeout_s, context=context
                )
                return json.loads(answer or b"null")
            except StatusError as error:
                if error.status == _BUSY and (wait_s := next(waits, None)) is not None:
                    time.sleep(wait_s)
                    continue
                hint = f"; {_AUTH_HINT}" if error.status == UNAUTHORISED else ""
                raise ApiError(self.url, f"status {error.status} for {path}{hint}", error.status) from None
            except WebError as error:
                raise ApiError(self.url, str(error)) from None
            except ValueError:
                raise ApiError(self.url, "the answer is not JSON, so this is not a Prefect server") from None


def api_at(url: str, *, ours: bool = False) -> Api:
    """The server at an address, with this user's credentials. ours: `genai up` started it. Raises SettingsError."""
    return Api(url.rstrip("/"), credentials_for(url, ours=ours))

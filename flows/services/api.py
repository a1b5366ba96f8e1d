"""Prefect's API by plain HTTP: for commands that ask a server one thing; importing prefect would cost a second."""

import base64
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

# Prefect's server answers so when another request holds its SQLite; it has undone what it began. Its own client asks
# again, too.
_BUSY = 503
_BUSY_WAITS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 4.0)


class ApiError(RuntimeError):
    """The server did not answer, refused, or was busy for some seconds; the message is one line."""


@dataclass(frozen=True)
class Api:
    """A server by its address (http://127.0.0.1:4200/api) and, where it wants one, its auth string."""

    url: str
    auth: str | None = None

    def get(self, path: str, timeout_s: float = 10.0) -> Any:
        """Raises ApiError."""
        return self._ask(urllib.request.Request(f"{self.url}/{path}"), timeout_s)  # noqa: S310 - the user's own address

    def post(self, path: str, **body: Any) -> Any:
        """Raises ApiError."""
        return self._send("POST", path, body)

    def put(self, path: str, **body: Any) -> Any:
        """Raises ApiError."""
        return self._send("PUT", path, body)

    def _send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        content, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", content, kind, method=method)  # noqa: S310
        return self._ask(request, 10.0)

    def _ask(self, request: urllib.request.Request, timeout_s: float) -> Any:
        if self.auth:
            request.add_header("Authorization", f"Basic {base64.b64encode(self.auth.encode()).decode()}")
        waits = iter(_BUSY_WAITS_S)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code == _BUSY and (wait_s := next(waits, None)) is not None:
                    time.sleep(wait_s)
                    continue
                hint = "; set PREFECT_API_AUTH_STRING to the server's" if error.code == 401 else ""
                raise ApiError(f"{self.url}: status {error.code} for {request.selector}{hint}") from None
            except (OSError, ValueError) as error:
                raise ApiError(f"{self.url}: {getattr(error, 'reason', error)}") from None


def auth_string() -> str | None:
    """What clients and a server that this user starts authenticate with."""
    return os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or os.environ.get("PREFECT_API_AUTH_STRING")

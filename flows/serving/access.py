"""Who may ask: tokens, their rates, and the names under which this machine may be addressed."""

from dataclasses import dataclass

from starlette.datastructures import Headers

from flows.serving.errors import ApiError
from flows.serving.rates import RateLimit
from flows.serving.tokens import KnownTokens

# Without a token: paths that reveal nothing about the models, and the page, which asks for a token itself.
OPEN_PATHS = ("/", "/votes", "/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.ico")
OPEN_FOLDERS = ("/static/",)
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Access:
    """The rules of a running server. needs_token: from the start, whatever happens to the tokens later."""

    tokens: KnownTokens
    rates: RateLimit
    needs_token: bool

    def check(self, path: str, headers: Headers) -> str | None:
        """Return the name of the client's token; None without one.

        Raises ApiError 401, 403 or 429 for a request that may not proceed.
        """
        if not self.needs_token:
            if not self.tokens.any_added:
                self.tokens.refresh()
            if not self.tokens.any_added:
                _check_host(headers)
                if not _is_open(path):
                    _check_origin(headers)
                return None
        if _is_open(path):
            return None
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            message = "this server needs a token: Authorization: Bearer TOKEN (genai serve token add NAME)"
            raise ApiError(401, message, code="token_missing")
        name = self.tokens.name_of(token.strip())
        if name is None:
            raise ApiError(401, "the token is unknown or was revoked", code="token_invalid")
        if seconds := self.rates.wait_s(name):
            message = "this token sends more requests than it may; wait"
            raise ApiError(429, message, code="rate_limited", retry_after_s=seconds)
        return name


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _check_host(headers: Headers) -> None:
    """Without tokens, a page elsewhere must not reach this server under a name of its own (DNS rebinding)."""
    if _host_name(headers.get("host", "")) not in LOOPBACK:
        message = f"without tokens, this server answers only to {', '.join(LOOPBACK)}"
        raise ApiError(403, message, code="host_not_allowed")


def _check_origin(headers: Headers) -> None:
    """Without tokens, a page elsewhere must not make this server work, even if it cannot read the answer.

    A browser sends `Origin` with a script's requests, and `Sec-Fetch-Site` with those of an <img> too.
    """
    origin = headers.get("origin")
    is_elsewhere = origin is not None and _host_name(origin.rpartition("://")[2]) not in LOOPBACK
    if is_elsewhere or headers.get("sec-fetch-site") == "cross-site":
        message = "without tokens, this server refuses requests that come from pages of other sites"
        raise ApiError(403, message, code="origin_not_allowed")


def _host_name(host: str) -> str:
    """Return "HOST:PORT" without the port, in lower case."""
    host = host.lower()
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]

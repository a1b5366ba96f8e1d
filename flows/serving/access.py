"""Who may ask: tokens, their rates, and the names under which this machine may be addressed."""

from dataclasses import dataclass

from starlette.datastructures import Headers

from flows.serving.errors import ApiError
from flows.serving.rates import RateLimit
from flows.serving.tokens import KnownTokens

# Without a token: what tells nothing about models, and the page, which asks for a token itself.
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
            self._check_host(headers)
            if not self.tokens.any_added:
                self.tokens.refresh()
            if not self.tokens.any_added:
                return None
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
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

    def _check_host(self, headers: Headers) -> None:
        """Without tokens, a page elsewhere must not reach this server under a name of its own (DNS rebinding)."""
        host = headers.get("host", "").lower()
        name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        if name not in LOOPBACK:
            message = f"without tokens, this server answers only to {', '.join(LOOPBACK)}"
            raise ApiError(403, message, code="host_not_allowed")

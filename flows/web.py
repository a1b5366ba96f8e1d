"""HTTP requests that follow no redirects, so credentials reach only the server that they are for.

Uses urllib, not httpx: a process that sends one request takes 0.14 s of CPU time with urllib and 0.37 s with httpx
(benchmarks/libraries.py). httpx also logs the address of each request at INFO, and its error quotes a header that
cannot be sent.
"""

import base64
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from flows.redact import without_secrets
from genai_core import GenaiError

_MAX_DETAIL = 1000  # bytes
_NONE: Mapping[str, str] = MappingProxyType({})


class WebError(GenaiError, OSError):
    """There is no usable answer; the message is one line, without secrets."""


class StatusError(WebError):
    """The server answered with an error status. detail: the beginning of what it says about that."""

    def __init__(self, status: int, detail: str = "") -> None:
        super().__init__(f"status {status}")
        self.status, self.detail = status, detail


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would send the Authorization header to whatever host a redirect names.

    It would also turn a POST into a GET, whose answer looks like success.
    """

    def redirect_request(self, _request: Any, body: Any, code: int, _message: str, _headers: Any, url: str) -> None:
        body.close()
        raise WebError(
            f"status {code}: redirects to {without_secrets(url)}, which is not followed; use the final address"
        )


def send(
    url: str,
    body: bytes | None = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] = _NONE,
    timeout_s: float,
    context: ssl.SSLContext | None = None,
) -> bytes:
    """Send a request and return the answer's body. Without `method`: POST if there is a body, else GET.

    A user and password in the address are sent as Authorization header, as by other clients. Proxies are those of
    the variables HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY (`_proxies`). Raises StatusError or WebError.
    """
    return _answered(url, body, method, headers, timeout_s, context)[0]


def date_of(
    url: str, *, headers: Mapping[str, str] = _NONE, timeout_s: float, context: ssl.SSLContext | None = None
) -> str:
    """Return the Date header of a server's answer, its clock; "" without one. Raises StatusError or WebError."""
    return str(_answered(url, None, None, headers, timeout_s, context)[1].get("Date", ""))


def _answered(
    url: str,
    body: bytes | None,
    method: str | None,
    headers: Mapping[str, str],
    timeout_s: float,
    context: ssl.SSLContext | None,
) -> tuple[bytes, Mapping[str, str]]:
    """The body and the headers of an answer."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):
        raise WebError("not a valid address: expected http:// or https://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    try:
        plain = f"{scheme}://{host}{slash}{path}"
        request = urllib.request.Request(plain, body, dict(headers), method=method)  # noqa: S310 - see above
        if at and not request.has_header("Authorization"):
            request.add_header("Authorization", basic(unquote(user)))
        opener = urllib.request.build_opener(
            _NoRedirects,
            urllib.request.HTTPSHandler(context=context),
            urllib.request.ProxyHandler(_proxies(request.host)),
        )
        with opener.open(request, timeout=timeout_s) as answer:
            content: bytes = answer.read()
            return content, answer.headers
    except urllib.error.HTTPError as error:
        raise StatusError(error.code, _detail(error)) from None
    except urllib.error.URLError as error:
        raise WebError(str(error.reason)) from None
    except (http.client.InvalidURL, ValueError):  # their messages quote the address
        raise WebError("not a valid address") from None
    except http.client.HTTPException as error:
        raise WebError(f"the answer is not HTTP ({type(error).__name__})") from None
    except WebError:
        raise
    except OSError as error:
        raise WebError(str(error)) from None


def _detail(error: urllib.error.HTTPError) -> str:
    with error, suppress(OSError, http.client.HTTPException):
        return error.read(_MAX_DETAIL).decode(errors="replace")
    return ""


def _proxies(host: str) -> dict[str, str]:
    """The proxy of each scheme for a host, which may have a port. urllib reads ALL_PROXY, but does not use it.

    It speaks HTTP only, so an ALL_PROXY of another kind, such as SOCKS, is left to other programs. So are the servers
    of this machine: who sets one proxy for all means the network.
    """
    found = urllib.request.getproxies()
    every = found.pop("all", "")
    if not every.lower().startswith(("http://", "https://")) or _is_loopback(host):
        return found
    return {"http": every, "https": every} | found


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    with suppress(ValueError):
        return ip_address(name).is_loopback
    return name == "localhost"


def basic(user_and_password: str) -> str:
    """The Authorization header's value for user:password."""
    return f"Basic {base64.b64encode(user_and_password.encode()).decode()}"

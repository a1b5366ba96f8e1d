"""HTTP requests that follow no redirect: credentials reach only the server that they are for.

By urllib, not httpx: a process that sends one request takes 0.14 s of CPU time with urllib and 0.37 s with httpx
(benchmarks/libraries.py). httpx also logs the address of each request at INFO, and its error quotes a header that
cannot be sent.
"""

import base64
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from flows.redact import without_secrets
from genai_core import GenaiError

_NONE: Mapping[str, str] = MappingProxyType({})


class WebError(GenaiError, OSError):
    """There is no answer, or none that can be used; the message is one line, and quotes no address with its secrets."""


class StatusError(WebError):
    """The server answered with the status of an error."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would follow with the Authorization header, to whoever is named.

    It would also make a GET of a POST, whose answer looks like success.
    """

    def redirect_request(self, _request: Any, body: Any, code: int, _message: str, _headers: Any, url: str) -> None:
        body.close()
        raise WebError(f"status {code}, it sends on to {without_secrets(url)}: name the address that answers itself")


def send(
    url: str,
    body: bytes | None = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] = _NONE,
    timeout_s: float,
    context: ssl.SSLContext | None = None,
) -> bytes:
    """Send a request and return the answer's body. Without `method`: a POST where there is a body, else a GET.

    A user and password in the address go along as the Authorization header, as other clients send them.
    Raises StatusError, else WebError.
    """
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
        opener = urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=timeout_s) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        error.close()
        raise StatusError(error.code) from None
    except urllib.error.URLError as error:
        raise WebError(str(error.reason)) from None
    except (http.client.InvalidURL, ValueError):  # whose messages quote the address
        raise WebError("not a valid address") from None
    except http.client.HTTPException as error:
        raise WebError(f"what answers there does not speak HTTP ({type(error).__name__})") from None
    except WebError:
        raise
    except OSError as error:
        raise WebError(str(error)) from None


def basic(user_and_password: str) -> str:
    """The Authorization header's value for user:password."""
    return f"Basic {base64.b64encode(user_and_password.encode()).decode()}"

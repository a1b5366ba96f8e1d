"""Requests to servers on loopback: credentials reach only one server, and every error is one line."""

import pytest

from flows.web import StatusError, WebError, send
from tests.flows.web_servers import no_http, site


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("body", [None, b"{}"])
def test_no_redirect_is_followed(status: int, body: bytes | None) -> None:
    """The header reaches no other server, and a POST that became a GET does not count as delivered."""
    with site() as other:
        target = f"http://me:secret@127.0.0.1:{other.port}/there?key=secret"
        with site(status, location=target) as first, pytest.raises(WebError) as error:
            send(f"http://127.0.0.1:{first.port}/", body, headers={"Authorization": "Bearer t"}, timeout_s=5.0)
    assert other.got == []
    assert f"status {status}: redirects to http://127.0.0.1:{other.port}/there, which is not followed" in str(
        error.value
    )


def test_a_request_and_its_answer() -> None:
    with site(200, 404, body=b"yes") as found:
        url = f"http://me:p%40w@127.0.0.1:{found.port}/a?b=c"
        assert send(url, b"x", method="PUT", headers={"X-One": "1"}, timeout_s=5.0) == b"yes"
        with pytest.raises(StatusError, match="status 404") as error:
            send(url, timeout_s=5.0, headers={"Authorization": "Bearer t"})
    assert error.value.status == 404
    first, second = found.got
    assert (first.method, first.path, first.body, first.headers["X-One"]) == ("PUT", "/a?b=c", b"x", "1")
    assert first.headers["Authorization"] == "Basic bWU6cEB3"  # me:p@w
    assert (second.method, second.headers["Authorization"]) == ("GET", "Bearer t")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/hostname", "expected http:// or https://"),
        ("secret", "expected http:// or https://"),
        ("http://me:secret@h:4x/", "not a valid address"),
        ("http://h:secret/x y", "not a valid address"),
        ("http://[secret/", "not a valid address"),
        ("http://secret:secret@127.0.0.1:9/secret?secret", "Connection refused"),
        ("http://no-such-host.invalid/secret", "not known|resolution"),
    ],
)
def test_invalid_and_unreachable_addresses(url: str, message: str) -> None:
    with pytest.raises(WebError, match=message) as error:
        send(url, timeout_s=5.0)
    assert "secret" not in str(error.value)


def test_a_header_that_cannot_be_sent_is_not_quoted() -> None:
    """A token from a file often ends in a line break."""
    with site() as found, pytest.raises(WebError) as error:
        send(f"http://127.0.0.1:{found.port}/", b"x", headers={"Authorization": "Bearer secret\n"}, timeout_s=5.0)
    assert "secret" not in str(error.value)
    assert found.got == []


def test_answer_that_is_not_http() -> None:
    with no_http() as port, pytest.raises(WebError, match=r"is not HTTP \(BadStatusLine\)"):
        send(f"http://127.0.0.1:{port}/", timeout_s=5.0)
    with no_http(b"") as port, pytest.raises(WebError, match=r"is not HTTP|reset"):
        send(f"http://127.0.0.1:{port}/", timeout_s=5.0)

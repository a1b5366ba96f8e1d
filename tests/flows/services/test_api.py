"""Prefect's API over plain HTTP, against servers that are busy, refuse a request, or are not Prefect's."""

from typing import Any

import pytest

from flows.services import api
from flows.services.api import Api, ApiError, CsrfToken
from flows.services.settings import Credentials
from tests.flows.web_servers import Site, no_http, site


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(api.time, "sleep", seconds.append)
    return seconds


def ask(server: Site, credentials: Credentials | None = None) -> Any:
    return Api(f"http://127.0.0.1:{server.port}", credentials or Credentials()).post("runs", name="one")


def test_busy_server_is_retried(waited: list[float]) -> None:
    with site(503, 503, 200, body=b'{"done": true}') as server:
        assert ask(server) == {"done": True}
    assert [got.body for got in server.got] == [b'{"name": "one"}'] * 3
    assert len(waited) == 2


def test_gives_up_on_a_server_that_stays_busy(waited: list[float]) -> None:
    with site(503) as server, pytest.raises(ApiError, match="status 503 for runs"):
        ask(server)
    assert 5 < sum(waited) < 20
    assert len(server.got) == len(waited) + 1


def test_refused_request_is_not_retried(waited: list[float]) -> None:
    with site(409) as server, pytest.raises(ApiError, match=r"status 409 for runs$") as error:
        ask(server)
    assert (waited, error.value.status) == ([], 409)


def test_credentials_are_sent_but_not_to_the_target_of_a_redirect() -> None:
    with site() as server:
        ask(server, Credentials("me:pw", "key"))
        ask(server, Credentials(key="key"))
        ask(server)
    assert [got.headers.get("Authorization") for got in server.got] == ["Basic bWU6cHc=", "Bearer key", None]
    with (
        site() as other,
        site(308, location=f"http://127.0.0.1:{other.port}/") as server,
        pytest.raises(ApiError, match="status 308: redirects to"),
    ):
        ask(server, Credentials(key="key"))
    assert other.got == []
    wanted = r"set PREFECT_API_AUTH_STRING to .* or PREFECT_API_URL and PREFECT_API_KEY"
    with site(401) as server, pytest.raises(ApiError, match=wanted):
        ask(server)


def test_headers_of_the_users_own_replace_the_clients() -> None:
    with site() as server:
        ask(server, Credentials("me:pw", headers=(("authorization", "Bearer proxy"), ("X-Office", "k"))))
    headers = server.got[0].headers
    assert (headers["Authorization"], headers["X-Office"]) == ("Bearer proxy", "k")
    assert headers["User-Agent"] == "genai-pipeline"
    with site(403) as server, pytest.raises(ApiError, match=r"status 403 .* set PREFECT_CLIENT_CUSTOM_HEADERS"):
        ask(server)


def test_csrf_token_is_asked_for_once_by_all_threads() -> None:
    token, asked = CsrfToken(), list[str]()

    def get(path: str) -> dict[str, str]:
        asked.append(path)
        return {"token": f"token {len(asked)}"}

    token.renew({}, get)
    refused = token.headers()
    assert refused["Prefect-Csrf-Token"] == "token 1"
    token.renew({}, get)  # a request that was sent before the token came
    assert (token.headers(), asked) == (refused, [f"csrf-token?client={refused['Prefect-Csrf-Client']}"])
    token.renew(refused, get)
    assert token.headers()["Prefect-Csrf-Token"] == "token 2"


def test_a_server_that_refuses_its_own_token_is_not_asked_for_ever() -> None:
    with (
        site(403, 200, 403, body=b'{"detail": "Missing CSRF token.", "token": "t"}') as server,
        pytest.raises(ApiError, match="status 403"),
    ):
        ask(server)
    assert [got.method for got in server.got] == ["POST", "GET", "POST"]


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with site() as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        Api("http://office.invalid/api").get("health")
        assert proxy.got[0].path == "http://office.invalid/api/health"
        monkeypatch.setenv("NO_PROXY", "office.invalid")
        with pytest.raises(ApiError, match=r"not known|resolution"):
            Api("http://office.invalid/api").get("health")


@pytest.mark.parametrize(("scheme", "host"), [("socks5", "127.0.0.1"), ("http", "127.0.0.1"), ("http", "localhost")])
def test_a_proxy_for_all_is_not_for_this_machine_nor_of_another_kind(
    scheme: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with site() as proxy, site(body=b"true") as server:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        assert Api(f"http://{host}:{server.port}/api").get("health") is True
    assert proxy.got == []
    with pytest.raises(ApiError, match=r"not known|resolution" if scheme == "socks5" else "refused|no answer|reset"):
        Api("http://office.invalid/api").get("health")


def test_server_that_is_not_prefects_gives_a_message_of_one_line() -> None:
    with site(body=b"<html>") as server, pytest.raises(ApiError, match="the answer is not JSON") as error:
        ask(server)
    assert error.value.status is None
    with no_http() as port, pytest.raises(ApiError, match=f"^http://127.0.0.1:{port}/api: the answer is not HTTP"):
        Api(f"http://me:pw@127.0.0.1:{port}/api").get("health")

"""Tokens, hosts, rates and bodies: who may ask what."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from starlette.datastructures import Headers

from flows.cli import main
from flows.serving.access import Access
from flows.serving.errors import ApiError
from flows.serving.rates import RateLimit
from flows.serving.tokens import PREFIX, TOKENS, KnownTokens, TokenError, add_token, revoke_token
from tests.flows.serving.served import Server, serving


def test_only_the_hash_of_a_token_is_kept(tmp_path: Path) -> None:
    token = add_token(tmp_path, "ann")
    content = (tmp_path / TOKENS).read_text()
    assert token.startswith(PREFIX)
    assert token not in content
    assert token.removeprefix(PREFIX) not in content
    assert stat.S_IMODE((tmp_path / TOKENS).stat().st_mode) == 0o600
    known = KnownTokens(tmp_path)
    assert known.name_of(token) == "ann"
    assert known.name_of(token[:-1]) is None


def test_a_revoked_token_is_refused_at_once_and_its_name_is_free_again(tmp_path: Path) -> None:
    token = add_token(tmp_path, "ann")
    known = KnownTokens(tmp_path)
    with pytest.raises(TokenError, match="a token named ann exists"):
        add_token(tmp_path, "ann")
    revoke_token(tmp_path, "ann")
    assert known.name_of(token) is None
    with pytest.raises(TokenError, match="no valid token is named ann; there are: none"):
        revoke_token(tmp_path, "ann")
    assert known.name_of(add_token(tmp_path, "ann")) == "ann"
    assert known.name_of(token) is None


def test_a_lost_file_opens_nothing(tmp_path: Path) -> None:
    token = add_token(tmp_path, "ann")
    known = KnownTokens(tmp_path)
    (tmp_path / TOKENS).unlink()
    assert known.name_of(token) is None
    assert known.any_added


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    add_token(tmp_path, "ann")
    (tmp_path / TOKENS).write_text("{")
    with pytest.raises(TokenError, match=r"tokens\.json: cannot be read"):
        KnownTokens(tmp_path)


def test_the_commands(tmp_path: Path) -> None:
    def genai(*arguments: str) -> str:
        answer = CliRunner().invoke(main, ["--workspace", str(tmp_path), "serve", "token", *arguments])
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    assert "there is no token yet" in genai("list")
    assert genai("add", "ann").startswith(PREFIX)
    genai("add", "bob")
    assert "is revoked" in genai("revoke", "ann")
    records = json.loads(genai("list", "--json"))
    assert [(record["name"], record["revoked"] is None) for record in records] == [("ann", False), ("bob", True)]


def test_the_bucket_holds_ten_seconds_and_fills_steadily() -> None:
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    assert [limit.wait_s("a") for _ in range(11)] == [0] * 10 + [1]
    assert limit.wait_s("b") == 0
    now[0] = 2.0
    assert [limit.wait_s("a") for _ in range(3)] == [0, 0, 1]
    assert [RateLimit(0).wait_s("a") for _ in range(100)] == [0] * 100


def test_beyond_loopback_the_server_does_not_start_without_a_token(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["--workspace", str(tmp_path), "serve", "--host=0.0.0.0", "--port=0"])
    assert answer.exit_code == 2
    assert "make one with `genai serve token add NAME`" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_with_a_token_every_request_needs_one(model_folders: Path, tmp_path: Path) -> None:
    token, other = add_token(tmp_path, "ann"), add_token(tmp_path, "bob")
    with serving(str(model_folders / "gan"), workspace=tmp_path, options=("--token-rate=30",)) as server:
        with server.client() as client:
            missing, wrong = client.get("/v1/models"), client.get("/v1/models", headers=bearer(f"{token}x"))
            assert (missing.status_code, missing.json()["error"]["code"]) == (401, "token_missing")
            assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "token_invalid")
            assert missing.headers["www-authenticate"] == "Bearer"
            assert client.get("/metrics").status_code == 401
            assert client.get("/healthz").status_code == client.get("/openapi.json").status_code == 200
            assert client.get("/v1/models", headers=bearer(other)).status_code == 200
            revoke_token(tmp_path, "bob")
            assert client.get("/v1/models", headers=bearer(other)).json()["error"]["code"] == "token_invalid"
            answers = [client.get("/v1/models", headers=bearer(token)) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        (tmp_path / TOKENS).unlink()
        assert server.draw().status_code == 401


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_another_host_name_is_refused_without_tokens(server: Server) -> None:
    with server.client() as client:
        answer = client.get("/v1/models", headers={"Host": "evil.example:8000"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed")
        for name in ("localhost:1", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
            assert client.get("/v1/models", headers={"Host": name}).status_code == 200


def test_after_the_first_token_any_host_name_is_allowed(tmp_path: Path) -> None:
    """Also in a server that was started without one."""
    access = Access(KnownTokens(tmp_path), RateLimit(0), needs_token=False)
    elsewhere = {"Host": "my.host:8000"}
    with pytest.raises(ApiError, match="answers only to"):
        access.check("/v1/models", Headers(elsewhere))
    token = add_token(tmp_path, "ann")
    assert access.check("/v1/models", Headers({**elsewhere, **bearer(token)})) == "ann"
    with pytest.raises(ApiError, match="needs a token"):
        access.check("/v1/models", Headers(elsewhere))


FOREIGN = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]


@pytest.mark.parametrize("headers", FOREIGN)
def test_no_page_of_another_origin_can_read_or_send(server: Server, headers: dict[str, str]) -> None:
    with server.client() as client:
        for path in ("/v1/models", "/v1/votes/pair", "/v1/models/gan/directions", "/metrics"):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed"), path
            assert not [name for name in answer.headers if name.startswith("access-control")]
        asked = client.options("/v1/draw", headers={**headers, "Access-Control-Request-Method": "POST"})
        assert asked.status_code == 403
        assert client.post("/v1/draw", json={}, headers=headers).status_code == 403
        sent = client.post("/v1/draw", content=b"{}", headers={"Content-Type": "text/plain"})
        assert (sent.status_code, sent.json()["error"]["code"]) == (415, "unsupported_media_type")
        # A link to the page from elsewhere works.
        assert client.get("/", headers=headers).status_code == 200


def test_pages_of_this_machine_may_ask(server: Server) -> None:
    with server.client() as client:
        for headers in (
            {"Origin": server.address, "Sec-Fetch-Site": "same-origin"},
            {"Origin": "http://[::1]:3000", "Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
        ):
            assert client.get("/v1/models", headers=headers).status_code == 200

"""Whatever a client sends, it gets a status, JSON in OpenAI's form, and neither a path nor a traceback."""

import json
from collections.abc import Iterator

import pytest

from tests.flows.serving.served import Server

HUGE = 2**40


@pytest.mark.parametrize(
    ("values", "status", "param"),
    [
        ({"class": "bird"}, 422, "class"),
        ({"class": 3}, 422, "class"),
        ({"count": 10_000}, 422, "count"),
        ({"count": 0}, 422, "count"),
        ({"count": True}, 422, "count"),
        ({"seed": "many"}, 422, "seed"),
        ({"seed": -1}, 422, "seed"),
        ({"seed": HUGE}, 422, "seed"),
        ({"seed": 2**32 - 1, "count": 2}, 422, "seed"),
        ({"seeds": [1, "2"]}, 422, "seeds.1"),
        ({"seeds": []}, 422, "seeds"),
        ({"seed": 1, "seeds": [1]}, 422, None),
        ({"class": "a", "mix": {"b": 1.0}}, 422, None),
        ({"mask": "aaaa"}, 422, None),
        ({"strength": 0.5}, 422, None),
        ({"base": {"seed": 1, "latent": "aaaa"}}, 422, "base"),
        ({"walk": {"points": [{"seed": 1}] * 3}}, 422, "walk"),
        ({"walk": {"points": [{"seed": 1}] * 2, "rows": 64, "columns": 64}}, 422, "walk"),
        ({"walk": {"points": [{"seed": 1}] * 2}, "latent": "aaaa"}, 422, None),
        ({"model": "nothing"}, 404, "model"),
        ({"model": ["gan"]}, 422, "model"),
        ({"sampling": {"steps": 0}}, 422, "sampling.steps"),
        ({"sampling": {"steps": 1_000}}, 422, "sampling.steps"),
        ({"sampling": {"steps": 2.5}}, 422, "sampling.steps"),
        ({"sampling": {"steps": None}}, 422, "sampling.steps"),
        ({"sampling": {"guidance_scale": "much"}}, 422, "sampling.guidance_scale"),
        ({"sampling": {"guidance_scale": 1e300}}, 422, "sampling.guidance_scale"),
        ({"sampling": {"sampler": "magic"}}, 422, "sampling.sampler"),
        ({"sampling": {"truncation": 0.5}}, 422, "sampling.truncation"),
        ({"sampling": {"noise_levels": {}}}, 422, "sampling.noise_levels"),
        ({"sampling": {"sigma_min": 3.0, "sigma_max": 2.0}}, 422, "sampling"),
        ({"size": "9x9"}, 422, "size"),
        ({"size": "16x8"}, 422, "size"),
        ({"size": "0x0"}, 422, "size"),
        ({"size": "80000x80000"}, 422, "size"),
        ({"size": "4096x4096", "count": 64}, 422, "size"),
        ({"size": "big"}, 422, "size"),
        ({"format": "gif"}, 422, "format"),
        ({"colour": "red"}, 422, "colour"),
    ],
)
def test_values_that_cannot_be(server: Server, values: dict[str, object], status: int, param: str | None) -> None:
    answer = server.draw(**values)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["type"]) == (param, "not_found_error" if status == 404 else "invalid_request_error")
    assert "/" not in error["message"].replace("/v1/models", "")
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"seed": NaN}', 422),
        (b'{"seed": 1e400}', 422),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"count": 1' + b"0" * 5_000 + b"}", 400),
    ],
)
def test_bodies_that_are_no_json(server: Server, content: bytes, status: int) -> None:
    with server.client() as client:
        answer = client.post("/v1/draw", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_body_that_is_too_large(server: Server) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 65536

    json_type = {"Content-Type": "application/json"}
    with server.client() as client:
        announced = client.post("/v1/draw", content=b" " * (9 * 2**20), headers=json_type)
        streamed = client.post("/v1/draw", content=parts(), headers=json_type)
    for answer in (announced, streamed):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_addresses_and_methods_that_do_not_exist(server: Server) -> None:
    with server.client() as client:
        for method, path, status in (
            ("GET", "/v1/nothing", 404),
            ("GET", "/static/../app.py", 404),
            ("GET", "/static/%2e%2e/app.py", 404),
            ("GET", "/v1/draw", 405),
            ("DELETE", "/v1/models", 405),
            ("GET", "/v1/models/none", 404),
        ):
            answer = client.request(method, path)
            assert answer.status_code == status, path
            assert "error" in json.loads(answer.text), path


def test_after_all_of_it_the_server_draws(server: Server) -> None:
    assert server.draw(seed=1).status_code == 200

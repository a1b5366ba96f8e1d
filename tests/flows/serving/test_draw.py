"""Drawing over HTTP: the same pixels as the library's, whatever they are batched with."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from genai_core.model import load_model
from tests.flows.serving.served import Server, pixels
from tests.models.tiny import RECIPES, SHAPE


@pytest.mark.parametrize("family", sorted(RECIPES))
def test_images_are_those_of_the_library(server: Server, model_folders: Path, family: str) -> None:
    answer = server.draw(model=family, count=3, seed=5, **{"class": "b"})
    assert answer.status_code == 200, answer.text
    images = answer.json()["images"]
    expected = load_model(model_folders / family, device="cpu").draw(3, classes="b", seed=5)
    assert [image["seed"] for image in images] == [5, 6, 7]
    assert {image["class"] for image in images} == {"b"}
    assert np.array_equal([pixels(image["b64"]) for image in images], expected.pixels[:, 0])


def test_without_a_class_each_class_in_turn(server: Server) -> None:
    images = server.draw(count=4, seed=0).json()["images"]
    assert [image["class"] for image in images] == [*SHAPE.classes, SHAPE.classes[0]]


def test_a_model_without_classes(server: Server) -> None:
    assert server.draw(model="plain", seed=1).json()["images"][0]["class"] is None
    refused = server.draw(model="plain", **{"class": "a"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_class")


def test_requests_that_arrive_together_share_a_batch_and_get_the_same_pixels(server: Server) -> None:
    alone = [server.draw(model="gan", seed=seed).json()["images"][0]["b64"] for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda seed: server.draw(model="gan", seed=seed).json(), range(12)))
    assert [answer["images"][0]["b64"] for answer in together] == alone


def test_the_models_are_listed_in_openais_form(server: Server) -> None:
    with server.client() as client:
        values = client.get("/v1/models").json()
    assert [model["id"] for model in values["data"]] == [*RECIPES, "plain"]
    details = values["data"][0]["genai"]
    assert (details["family"], details["classes"], details["image_size"]) == ("diffusion", ["a", "b", "c"], [8, 8])
    assert details["sampling"]["steps"] == {
        "value": 12,
        "kind": "integer",
        "optional": False,
        "low": 1,
        "high": 250,
        "help": "network calls: 2 n - 1 with heun, else n; twice as many where guidance applies",
    }


def test_health(server: Server) -> None:
    with server.client() as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").json() == {"status": "ready"}


def test_the_server_holds_no_torch(server: Server) -> None:
    (model_process,) = server.model_pids()
    assert "libtorch" not in Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtorch" in Path(f"/proc/{model_process}/maps").read_text()

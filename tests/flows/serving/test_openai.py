"""OpenAI's own client, unchanged."""

import base64
import io

import numpy as np
import openai
import pytest
from PIL import Image

from tests.flows.serving.served import Server, pixels
from tests.models.tiny import RECIPES, SHAPE


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key="unused", max_retries=0)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [*RECIPES, "plain"]
    assert client.models.retrieve("gan").owned_by == "genai"


def test_an_image_of_a_class(client: openai.OpenAI, server: Server) -> None:
    answer = client.images.generate(model="gan", prompt="b", n=2, extra_body={"seed": 3})
    assert answer.data is not None
    own = server.draw(model="gan", count=2, seed=3, **{"class": "b"}).json()["images"]
    for image, expected in zip(answer.data, own, strict=True):
        assert np.array_equal(pixels(image.b64_json or ""), pixels(expected["b64"]))
        assert image.model_extra is not None
        assert image.model_extra["provenance"] == expected["provenance"]


def test_an_empty_prompt_draws_any_class(client: openai.OpenAI) -> None:
    answer = client.images.generate(model="vae", prompt="", n=3, extra_body={"seed": 0})
    assert [image.model_extra["provenance"]["class"] for image in answer.data] == [*SHAPE.classes]


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_whole_multiple_of_the_size_in_each_format(client: openai.OpenAI, form: str) -> None:
    small = client.images.generate(model="gan", prompt="a", extra_body={"seed": 1})
    large = client.images.generate(model="gan", prompt="a", size="32x32", output_format=form, extra_body={"seed": 1})
    image = Image.open(io.BytesIO(base64.b64decode(large.data[0].b64_json)))
    assert (image.size, image.format) == ((32, 32), form.upper())
    if form != "jpeg":
        expected = np.kron(pixels(small.data[0].b64_json), np.ones((4, 4), np.uint8))
        assert np.array_equal(np.asarray(image.convert("L")), expected)


def test_what_means_nothing_here_is_listed(client: openai.OpenAI) -> None:
    answer = client.images.generate(model="gan", prompt="a", quality="high", user="me", style="vivid")
    assert answer.model_extra["ignored"] == ["quality", "style", "user"]


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="no such class: 'a cat'; available: a, b, c") as error:
        client.images.generate(model="gan", prompt="a cat")
    assert (error.value.code, error.value.param) == ("unknown_class", "prompt")
    with pytest.raises(openai.NotFoundError, match="no model 'dall-e-3' is served; available: diffusion"):
        client.images.generate(model="dall-e-3", prompt="a")
    with pytest.raises(openai.UnprocessableEntityError, match="only b64_json is available"):
        client.images.generate(model="gan", prompt="a", response_format="url")
    with pytest.raises(openai.UnprocessableEntityError, match="whole multiples"):
        client.images.generate(model="gan", prompt="a", size="1001x1001")

"""Questions to a real server about pictures and its models."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from genai_core.data.dataset.dataset import load_dataset
from genai_core.evaluation.extractor import load_extractor
from genai_core.evaluation.features import extract_features
from genai_core.exploring.directions_folder import load_directions
from genai_core.model import load_model
from tests.evaluation.conftest import CLASSES, SIZE
from tests.flows.serving.explored_home import Home
from tests.flows.serving.served import Server, pixels


def ask(server: Server, what: str, **values: Any) -> httpx.Response:
    with server.client() as client:
        return client.post(f"/v1/{what}", json=values)


def file_of(image: np.ndarray[Any, Any], form: str = "PNG") -> str:
    out = io.BytesIO()
    Image.fromarray(image).save(out, form)
    return base64.b64encode(out.getvalue()).decode()


def test_the_models_say_what_can_be_asked(explored: Server) -> None:
    with explored.client() as client:
        can = {model["id"]: model["genai"]["can"] for model in client.get("/v1/models").json()["data"]}
    assert {"nearest", "explain"} <= set(can["gan"])
    assert {"nearest", "explain"}.isdisjoint(can["stranger"])


def test_an_uploaded_training_image_is_a_copy(explored: Server, home: Home) -> None:
    dataset = load_dataset(home.folder / "data/prepared")
    row, image = dataset.rows("train").iloc[7], dataset.images("train")[7]
    answer = ask(explored, "nearest", image=file_of(image[0]), count=2).json()
    first = answer["images"][0]
    assert (answer["copy"], answer["training_images"]) == (True, 240)
    assert (first["distance"], first["copy"], first["identical"]) == (0.0, True, True)
    assert (first["class"], first["file"]) == (CLASSES[row["label"]], row["source"])
    assert np.array_equal(pixels(first["b64"]), image[0])


def test_a_drawn_picture_is_beside_its_nearest(explored: Server, home: Home) -> None:
    answer = ask(explored, "nearest", seed=5, **{"class": "down"}, count=1).json()
    drawn = load_model(home.folder / "models/gan", device="cpu").draw(1, classes="down", seed=5)
    extractor, _ = load_extractor(home.folder / "models/extractor")
    features = extract_features(extractor, load_dataset(home.folder / "data/prepared").images("train"), 100).features
    distances = np.linalg.norm(features - extract_features(extractor, drawn.pixels, 1).features, axis=1)
    assert answer["images"][0]["distance"] == pytest.approx(distances.min(), rel=1e-4)
    assert answer["copy"] == (distances.min() <= answer["threshold"])


def test_another_size_is_decoded_as_the_stage_prepare_does(explored: Server) -> None:
    """fit is pad, with a background of 9."""
    wide = np.full((SIZE, 2 * SIZE), 200, np.uint8)
    found = pixels(ask(explored, "explain", image=file_of(wide)).json()["image"])
    assert found.shape == (SIZE, SIZE)
    assert (found[:3] == 9).all()
    assert (found[4:8] == 200).all()
    assert np.array_equal(pixels(ask(explored, "encode", image=file_of(wide)).json()["prepared_b64"]), found)


def test_what_drives_the_class_is_the_line(explored: Server) -> None:
    image = np.full((SIZE, SIZE), 40, np.uint8)
    image[2] = 255
    answer = ask(explored, "explain", image=file_of(image)).json()
    assert (answer["class"], answer["meaning"]) == ("across", "class")
    heat = pixels(answer["heat"]).astype(float)
    assert heat.max() == 255
    assert heat[1:4].mean() > 2 * heat[6:].mean()
    assert pixels(answer["over"]).shape == (SIZE, SIZE, 3)
    other = ask(explored, "explain", image=file_of(image), **{"class": "down"}).json()
    assert other["class"] == "down"
    assert other["probability"] == pytest.approx(1 - answer["probability"], abs=1e-6)


def test_a_model_without_real_images_says_so(explored: Server) -> None:
    for what in ("nearest", "explain"):
        answer = ask(explored, what, model="stranger", seed=1)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_real_images")


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, 422),
        ({"seed": 1, "image": "aaaa"}, 422),
        ({"seed": -1}, 422),
        ({"seed": 1, "count": 0}, 422),
        ({"seed": 1, "count": 1000}, 422),
        ({"seed": 1, "class": "up"}, 422),
        ({"image": "aaaa", "class": "across"}, 422),
        ({"seed": 1, "unknown": 1}, 422),
        ({"image": "!"}, 422),
        ({"image": base64.b64encode(b"hello").decode()}, 415),
        ({"image": file_of(np.zeros((2, 2), np.uint8))}, 422),
        ({"image": file_of(np.zeros((4, 1000), np.uint8))}, 422),
        ({"seed": 1, "model": "nobody"}, 404),
    ],
)
def test_bad_questions_are_refused(explored: Server, home: Home, values: dict[str, Any], status: int) -> None:
    answer = ask(explored, "nearest", **values)
    assert answer.status_code == status, answer.text
    assert str(home.folder) not in answer.text
    assert "/" not in answer.json()["error"]["message"].replace("and/or", "")


def test_a_damaged_file_is_refused(explored: Server) -> None:
    content = base64.b64decode(file_of(np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)))
    answer = ask(explored, "explain", image=base64.b64encode(content[:-200]).decode())
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "image")


def test_pictures_move_along_the_directions_that_are_found(explored: Server, home: Home) -> None:
    with explored.client() as client:
        found = client.get("/v1/models/gan/directions").json()["directions"]
        assert client.get("/v1/models/gan/directions").json()["directions"] == found
    kinds = {direction["kind"]: direction for direction in found}
    assert {"principal", "class"} <= kinds.keys()
    component, towards = kinds["principal"], kinds["class"]
    amounts = {component["name"]: component["high"], towards["name"]: 0.5}
    moves = [{"name": name, "amount": amount} for name, amount in amounts.items()]
    answer = explored.draw(model="gan", seed=3, **{"class": "across"}, directions=moves)
    assert answer.status_code == 200, answer.text
    image = answer.json()["images"][0]
    assert image["provenance"]["directions"] == amounts
    model = load_model(home.folder / "models/gan", device="cpu")
    (folder,) = (home.folder / ".genai/cache/directions").iterdir()
    noise, weights = model.network.noise(torch.tensor([3])).numpy(), np.array([[1, 0]], np.float32)
    for direction in load_directions(folder):
        if direction.name in amounts:
            noise, weights = direction.move(noise, weights, amounts[direction.name])
    with torch.inference_mode():
        expected = model.network.sample_from(torch.from_numpy(noise), torch.from_numpy(weights), model.sampling)
    # Another batch size rounds differently, by a grey level.
    assert abs(pixels(image["b64"]).astype(int) - expected.numpy()[0, 0].astype(int)).max() <= 1
    # A strip: an amount for each image of one seed, of which one is the picture above.
    strip = {"name": component["name"], "amount": [0.0, component["high"]]}
    both = explored.draw(
        model="gan", seeds=[3, 3], **{"class": "across"}, directions=[strip, {"name": towards["name"], "amount": 0.5}]
    ).json()["images"]
    assert both[1]["b64"] == image["b64"]
    assert both[0]["provenance"]["directions"] == {component["name"]: 0.0, towards["name"]: 0.5}
    too_far = {**strip, "amount": [0.0, component["high"] + 1.0]}
    assert "directions.0.amount: got" in explored.draw(model="gan", seeds=[3, 3], directions=[too_far]).text
    refused = explored.draw(model="gan", seed=3, directions=[{"name": "age", "amount": 1.0}])
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_direction")

"""Walks, latents, branches, mixtures, start images and masks over HTTP, with every family."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.flows.serving.served import Server, pixels
from tests.models.tiny import RECIPES

FAMILIES = sorted(RECIPES)


def images(server: Server, **values: Any) -> list[dict[str, Any]]:
    answer = server.draw(**values)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["images"]
    return found


def png(values: npt.NDArray[np.uint8]) -> str:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def abilities(server: Server, model: str) -> list[str]:
    with server.client() as client:
        can: list[str] = client.get(f"/v1/models/{model}").json()["genai"]["can"]
    return can


@pytest.mark.parametrize("family", FAMILIES)
def test_a_walk_begins_and_ends_at_its_points(server: Server, family: str) -> None:
    walk = images(server, model=family, walk={"points": [{"seed": 3}, {"seed": 8}], "columns": 4}, **{"class": "b"})
    ends = [images(server, model=family, seed=seed, **{"class": "b"})[0] for seed in (3, 8)]
    assert np.array_equal(pixels(walk[0]["b64"]), pixels(ends[0]["b64"]))
    assert np.array_equal(pixels(walk[-1]["b64"]), pixels(ends[1]["b64"]))
    assert [image["seed"] for image in walk] == [None] * 4
    assert walk[1]["provenance"]["walk"] == {"points": [3, 8], "shares": [1 / 3]}


def test_a_square_has_its_points_in_its_corners(server: Server) -> None:
    points = [{"seed": seed} for seed in (1, 2, 3, 4)]
    square = images(server, model="gan", walk={"points": points, "rows": 3, "columns": 3}, **{"class": "a"})
    for place, seed in ((0, 1), (2, 2), (6, 3), (8, 4)):
        corner = images(server, model="gan", seed=seed, **{"class": "a"})[0]
        assert np.array_equal(pixels(square[place]["b64"]), pixels(corner["b64"])), place


@pytest.mark.parametrize("family", FAMILIES)
def test_a_latent_draws_its_picture_again(server: Server, family: str) -> None:
    middle = images(server, model=family, walk={"points": [{"seed": 3}, {"seed": 8}], "columns": 3}, **{"class": "b"})[
        1
    ]
    again = images(server, model=family, latent=middle["latent"], **{"class": "b"})[0]
    assert np.array_equal(pixels(again["b64"]), pixels(middle["b64"]))
    assert again["latent"] == middle["latent"]


def test_branches_begin_at_their_base_and_end_at_their_seeds(server: Server) -> None:
    own = images(server, model="vae", seed=5, count=2, **{"class": "c"})
    base = images(server, model="vae", seed=9, **{"class": "c"})[0]
    near = images(server, model="vae", seed=5, count=2, base={"seed": 9}, reach=0.0, **{"class": "c"})
    far = images(server, model="vae", seed=5, count=2, base={"seed": 9}, reach=1.0, **{"class": "c"})
    assert [image["seed"] for image in near] == [5, 6]
    for image in near:
        assert np.array_equal(pixels(image["b64"]), pixels(base["b64"]))
    for image, expected in zip(far, own, strict=True):
        assert np.array_equal(pixels(image["b64"]), pixels(expected["b64"]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixture_of_one_class_is_that_class(server: Server, family: str) -> None:
    if "mix" not in abilities(server, family):
        pytest.skip(f"{family} does not mix classes")
    mixed = images(server, model=family, seed=2, mix={"b": 5.0})[0]
    assert np.array_equal(
        pixels(mixed["b64"]), pixels(images(server, model=family, seed=2, **{"class": "b"})[0]["b64"])
    )
    assert (mixed["class"], mixed["provenance"]["mix"]) == (None, {"b": 1.0})
    half = images(server, model=family, seed=2, mix={"a": 1.0, "b": 1.0})[0]
    assert half["provenance"]["mix"] == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("family", FAMILIES)
def test_outside_the_mask_the_start_stays_pixel_for_pixel(server: Server, family: str) -> None:
    if "mask" not in abilities(server, family):
        pytest.skip(f"{family} does not redraw under a mask")
    start = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 255
    found = images(
        server, model=family, count=2, seed=1, start=png(start), mask=png(mask), strength=0.8, **{"class": "a"}
    )
    for image in found:
        assert np.array_equal(pixels(image["b64"])[mask == 0], start[mask == 0])
    assert found[0]["provenance"]["strength"] == 0.8


@pytest.mark.parametrize("family", FAMILIES)
def test_no_strength_keeps_the_start(server: Server, family: str) -> None:
    if "start" not in abilities(server, family):
        pytest.skip(f"{family} does not begin from a picture")
    start = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    kept = images(server, model=family, start=png(start), strength=0.0, **{"class": "a"})[0]
    assert np.array_equal(pixels(kept["b64"]), start)


def test_whatever_shares_a_batch_the_pixels_are_the_same(server: Server) -> None:
    start = png(np.full((8, 8), 90, np.uint8))
    bodies: list[dict[str, Any]] = [
        {"seed": 1, "count": 5},
        {"walk": {"points": [{"seed": 3}, {"seed": 8}], "columns": 7}},
        {"seed": 4, "mix": {"a": 1.0, "c": 2.0}},
        {"seed": 6, "base": {"seed": 1}, "reach": 0.5},
        {"seed": 7, "start": start, "strength": 0.5},
        {"seed": 11, "count": 16},
    ]
    for model in ("diffusion", "gan"):
        alone = [images(server, model=model, **body) for body in bodies]
        with ThreadPoolExecutor(18) as pool:
            together = list(pool.map(lambda body, model=model: images(server, model=model, **body), bodies * 3))
        assert together == alone * 3, model


@pytest.mark.parametrize("latent", [[float("nan")], [float("inf")]])
def test_a_latent_that_is_no_number(server: Server, latent: list[float]) -> None:
    with server.client() as client:
        size = int(np.prod(client.get("/v1/models/gan").json()["genai"]["noise_shape"]))
    content = base64.b64encode(np.array(latent * size, np.float32).tobytes()).decode()
    answer = server.draw(model="gan", latent=content)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "latent")


def test_a_damaged_start_is_refused(server: Server) -> None:
    content = base64.b64decode(png(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)))
    start = base64.b64encode(content[:2000]).decode()
    answer = server.draw(model="diffusion", start=start)
    assert answer.status_code in (415, 422), answer.text
    assert answer.json()["error"]["param"] == "start"


def test_previews_come_before_the_images(server: Server) -> None:
    values = {"model": "diffusion", "count": 2, "seed": 4, "sampling": {"steps": 250}, "stream": True}
    with server.client() as client, client.stream("POST", "/v1/draw", json=values) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith(("event", "data"))]
    names = [line.removeprefix("event: ") for line in lines[::2]]
    assert names.count("preview") >= 2
    assert names[-3:] == ["image", "image", "done"]
    first = json.loads(lines[1].removeprefix("data: "))
    assert (first["index"], pixels(first["b64"]).shape) == (0, (8, 8))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_nearest_noise_of_a_picture_draws_it_again(server: Server, family: str) -> None:
    drawn = images(server, model=family, seed=6, **{"class": "b"})[0]
    with server.client() as client:
        answer = client.post("/v1/encode", json={"model": family, "image": drawn["b64"], "class": "b"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["class"] == "b"
    again = pixels(images(server, model=family, latent=found["latent"], **{"class": "b"})[0]["b64"])
    assert np.array_equal(again, pixels(found["b64"]))
    difference = again.astype(float) - pixels(drawn["b64"])
    assert np.sqrt((difference**2).mean()) == pytest.approx(found["error"], abs=1e-3)
    assert np.array_equal(pixels(found["prepared_b64"]), pixels(drawn["b64"]))


def test_encode_refuses_what_is_no_picture(server: Server) -> None:
    with server.client() as client:
        for body, status in (({"image": "!"}, 422), ({"image": "aaaa"}, 415), ({}, 422)):
            assert client.post("/v1/encode", json={"model": "gan", **body}).status_code == status

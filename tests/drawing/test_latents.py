"""Ways between images, and the noise nearest to an image."""

import numpy as np
import pytest
import torch

from genai_core.drawing import starts
from genai_core.drawing.drawing import Drawing, DrawingError, draw
from genai_core.drawing.latents import encode, walk
from tests.drawing.test_drawing import loaded, one_hot
from tests.models.test_families import FAMILIES


def noises(count: int, shape: tuple[int, ...] = (500,)) -> list[np.ndarray]:
    return list(np.random.default_rng(0).standard_normal((count, *shape)).astype(np.float32))


def test_a_walk_between_two_keeps_to_the_arc() -> None:
    first, second = np.float32([3, 0]), np.float32([0, 3])
    assert np.allclose(walk([first, second], [1 / 3]), [3 * np.cos(np.pi / 6), 3 * np.sin(np.pi / 6)], atol=1e-6)
    begin, end = noises(2)
    assert np.array_equal(walk([begin, end], [0.0]), begin)
    assert np.array_equal(walk([begin, end], [1.0]), end)
    # As long as its ends: a straight line would be shorter by the root of 2 in the middle.
    assert np.linalg.norm(walk([begin, end], [0.5])) == pytest.approx(np.linalg.norm([begin, end]) / 2**0.5, rel=0.02)


def test_a_walk_between_four_has_them_at_its_corners() -> None:
    points = noises(4, (2, 5))
    for index, corner in enumerate([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]):
        assert np.array_equal(walk(points, corner), points[index])
    assert walk(points, (0.5, 0.5)).shape == (2, 5)
    assert walk(points, (0.5, 0.5)).dtype == np.float32


@pytest.mark.parametrize(("points", "shares"), [(3, 1), (2, 2), (4, 1), (1, 1)])
def test_other_numbers_of_points_are_refused(points: int, shares: int) -> None:
    with pytest.raises(ValueError, match="expected two points and one share, or four"):
        walk(noises(points), [0.5] * shares)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_drawn_image_comes_back_near(family: str) -> None:
    model = loaded(family)
    image, other = draw(model, [Drawing(7, one_hot(1)), Drawing(8, one_hot(1))], model.sampling)
    found = encode(model, image, one_hot(1), model.sampling)
    assert found.noise.shape == model.network.noise_shape
    assert found.noise.dtype == np.float32
    again = draw(model, [Drawing(0, one_hot(1), noise=found.noise)], model.sampling)[0]
    assert np.array_equal(again, found.pixels)
    assert found.error == pytest.approx(np.sqrt(((again.astype(float) - image) ** 2).mean()), abs=1e-3)
    if family in ("gan", "diffusion"):  # random encoders of the others know nothing of the decoder
        apart = np.sqrt(((other.astype(float) - image) ** 2).mean())
        assert found.error < apart / 2


def test_the_same_image_gives_the_same_noise() -> None:
    model = loaded("gan")
    image = draw(model, [Drawing(7, one_hot(1))], model.sampling)[0]
    first, second = (encode(model, image, one_hot(1), model.sampling) for _ in range(2))
    assert np.array_equal(first.noise, second.noise)


def test_tokens_come_back_exactly() -> None:
    """Of a VQ-VAE: the image's tokens are those that its noise draws."""
    model = loaded("vqvae")
    image = draw(model, [Drawing(7, one_hot(1))], model.sampling)[0]
    found = encode(model, image, one_hot(1), model.sampling)
    network = model.network.network
    levels = network.quantiser.to_levels(network.codes(torch.from_numpy(image[None]).float() / 127.5 - 1))
    expected = network.images(levels.flatten(1, 2))
    assert np.abs(found.pixels - (expected[0] * 127.5 + 128).clamp(0, 255).numpy()).max() <= 1.01


def test_an_image_of_another_size_is_refused() -> None:
    model = loaded("gan")
    with pytest.raises(DrawingError, match="expected an image of 1 channels and 8 x 8"):
        encode(model, np.zeros((1, 4, 4), np.uint8), one_hot(0), model.sampling)


def test_a_start_image_is_encoded_once_for_the_same_options(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = loaded("gan"), []
    image = draw(model, [Drawing(7, one_hot(1))], model.sampling)[0]

    def counted(*given):
        seen.append(given)
        return encode(*given)

    monkeypatch.setattr(starts, "encode", counted)
    for strength in (0.2, 0.6):
        begun = [Drawing(seed, one_hot(1), start=image, strength=strength) for seed in range(3)]
        first = draw(model, begun, model.sampling)
        assert np.array_equal(draw(model, begun, model.sampling), first)
    assert len(seen) == 1
    other = model.sampling.model_copy(update={"truncation": 0.5})
    draw(model, begun, other)
    assert len(seen) == 2

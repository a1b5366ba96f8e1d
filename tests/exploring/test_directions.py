import numpy as np
import pytest

from genai_core.exploring.attributes import ACROSS, BRIGHTNESS
from genai_core.exploring.directions import Direction, find_directions, largest_amount
from genai_core.exploring.effects import attribute_effect, principal_effects
from genai_core.exploring.population import coarse_basis, draw_population

SIZE = 8


class Linear:
    """Pictures 128 + 20 A z: A (64, dim) has singular values 1, 1/2, 1/4 ... and known vectors."""

    def __init__(self, dim=6):
        generator = np.random.default_rng(3)
        self.patterns = np.linalg.qr(generator.normal(size=(SIZE * SIZE, dim)))[0]
        self.vectors = np.linalg.qr(generator.normal(size=(dim, dim)))[0]
        self.matrix = 60 * self.patterns * 0.5 ** np.arange(dim) @ self.vectors.T
        self.images = 0

    def __call__(self, noise, weights):
        self.images += len(noise)
        pixels = 128 + noise.reshape(len(noise), -1) @ self.matrix.T
        if weights is not None:
            pixels = pixels + 40 * weights @ np.linspace(-1, 1, weights.shape[1])[:, None]
        return pixels.round().clip(0, 255).astype(np.uint8).reshape(-1, 1, SIZE, SIZE)


def cosine(a, b):
    return abs(float(np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)))


def bright_spot(noise, weights):
    """The first value of the noise is the brightness of all, the second moves a spot, the others do nothing."""
    images = np.full((len(noise), 1, SIZE, SIZE), 60.0)
    images += 12 * noise[:, 0, None, None, None]
    place = np.arange(SIZE) - 3.5 - noise[:, 1, None]
    images[:, 0, 3:5] += 90 * np.exp(-0.5 * place[:, None] ** 2)
    return images.round().clip(0, 255).astype(np.uint8)


def test_the_components_of_a_linear_generator_are_its_singular_vectors():
    linear = Linear()
    population = draw_population(linear, (6,), 0, 2000, 0)
    found = list(principal_effects(population))
    total = sum(0.25**power for power in range(6))
    for index, effect in enumerate(found[:3]):
        assert cosine(effect.coordinates, linear.vectors[:, index]) > 0.98
        assert cosine(effect.pattern, linear.patterns[:, index]) > 0.98
        assert effect.share == pytest.approx(0.25**index / total, rel=0.1)


def test_noise_that_pictures_do_not_follow_has_no_components():
    generator = np.random.default_rng(0)

    def unrelated(noise, _weights):
        return generator.integers(0, 255, (len(noise), 1, SIZE, SIZE)).astype(np.uint8)

    assert list(principal_effects(draw_population(unrelated, (6,), 0, 500, 0))) == []
    assert [direction for direction in find_directions(unrelated, (6,), ()) if direction.vector is not None] == []


def test_an_attribute_of_one_value_of_the_noise_is_found():
    population = draw_population(bright_spot, (5,), 0, 500, 0)
    for attribute, index in ((BRIGHTNESS, 0), (ACROSS, 1)):
        effect = attribute_effect(population.coordinates, population.attributes[attribute])
        assert cosine(effect.coordinates, np.eye(5)[index]) > 0.98
        assert effect.accuracy > 0.9


def test_directions_are_offered_with_what_they_do():
    found = {direction.name: direction for direction in find_directions(bright_spot, (5,), ())}
    bright, across = found["brightness"], found["position across"]
    assert (bright.kind, bright.what) == ("attribute", "from darker to brighter")
    assert cosine(bright.vector, np.eye(5)[0]) > 0.98
    assert bright.vector[0] > 0
    assert cosine(across.vector, np.eye(5)[1]) > 0.98
    assert (bright.steady, across.steady) == (1.0, 1.0)
    assert {"width", "height", "slant"}.isdisjoint(found)
    assert "darker" in found["component 1"].what or "left" in found["component 1"].what
    for direction in found.values():
        assert np.linalg.norm(direction.vector) == pytest.approx(1.0, abs=1e-5)


def test_a_direction_ends_before_all_pictures_are_alike():
    def glaring(noise, _weights):
        """The first value of the noise soon makes any picture black or white."""
        images = np.full((len(noise), 1, SIZE, SIZE), 128.0) + 150 * noise[:, 0, None, None, None]
        images[:, 0, 3:5] += 60 * noise[:, 1, None, None]
        return images.round().clip(0, 255).astype(np.uint8)

    bright = {direction.name: direction for direction in find_directions(glaring, (5,), ())}["brightness"]
    assert bright.high < largest_amount(5)
    noise = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)

    def variety(amount):
        return glaring(bright.move(noise, None, amount)[0], None).astype(float).var(axis=0).mean()

    assert variety(largest_amount(5)) < 0.3 * variety(0.0)
    assert variety(bright.high) > 0.3 * variety(0.0)


def test_a_move_changes_the_pictures_as_the_direction_says():
    direction = {d.name: d for d in find_directions(bright_spot, (5,), ())}["position across"]
    noise = np.zeros((1, 5), np.float32)
    places = []
    for amount in (-3.0, 0.0, 3.0):
        row = bright_spot(direction.move(noise, None, amount)[0], None)[0, 0, 3]
        places.append(int(row.argmax()))
    assert places[0] < 3 <= places[1] <= 4 < places[2]


def test_the_same_model_gives_the_same_directions():
    first, second = (find_directions(Linear(), (6,), ("a", "b")) for _ in range(2))
    assert [d.name for d in first] == [d.name for d in second]
    for one, other in zip(first, second, strict=True):
        assert one.vector is other.vector is None or np.array_equal(one.vector, other.vector)


def test_classes_are_searched_within_and_each_is_a_direction():
    """Brightness depends on the class alone, so noise has no direction for it."""
    found = find_directions(Linear(dim=1), (1,), ("a", "b", "c"))
    towards = [direction for direction in found if direction.kind == "class"]
    assert [(d.name, d.target, d.low, d.high) for d in towards] == [
        ("towards a", 0, 0.0, 1.0),
        ("towards b", 1, 0.0, 1.0),
        ("towards c", 2, 0.0, 1.0),
    ]
    assert [d.steady for d in towards] == [1.0, 1.0, 1.0]
    noise, weights = towards[2].move(np.ones((1, 1), np.float32), np.array([[1, 0, 0]], np.float32), 0.25)
    assert weights.tolist() == [[0.75, 0.0, 0.25]]
    assert noise.tolist() == [[1.0]]


def test_a_class_direction_needs_classes():
    with pytest.raises(ValueError, match="no classes"):
        Direction("towards a", "class", "", 0.0, 1.0, 1.0, 1.0, target=0).move(np.ones((1, 1)), None, 1.0)


def test_noise_that_changes_nothing_has_no_directions():
    assert find_directions(lambda noise, _: np.zeros((len(noise), 1, 4, 4), np.uint8), (3,), ("a", "b")) == ()


def test_moved_noise_is_no_longer_than_noise_ever_is():
    for dim in (16, 256, 3072):
        lengths = np.linalg.norm(np.random.default_rng(0).standard_normal((2000, dim)), axis=1)
        moved = np.sqrt(dim + largest_amount(dim) ** 2)
        assert np.percentile(lengths, 90) < moved < np.percentile(lengths, 99.5)


def test_spatial_noise_is_searched_in_its_lowest_frequencies():
    basis = coarse_basis((3, 16, 12))
    assert basis.shape == (48, 3 * 16 * 12)
    assert np.allclose(basis @ basis.T, np.eye(48))
    flat = np.zeros((3, 16, 12))
    flat[1] = 1.0
    assert np.linalg.norm(basis @ flat.ravel()) == pytest.approx(np.linalg.norm(flat))
    assert np.array_equal(coarse_basis((16,)), np.eye(16))
    assert np.array_equal(coarse_basis((1, 8, 8)), np.eye(64))


def test_amounts_end_where_pictures_would_leave_what_the_model_draws():
    """In 400 dimensions noise may move by 7.5, but a tenth of it brings the brightness to six standard deviations."""

    def steep(noise, _weights):
        levels = 128 + 20 * noise[:, :, :, :1].mean(axis=(1, 2, 3)) * 20**0.5
        return np.broadcast_to(levels.clip(0, 255).astype(np.uint8)[:, None, None, None], (len(noise), 1, 8, 8))

    (bright,) = [d for d in find_directions(steep, (1, 20, 20), ()) if d.name == "brightness"]
    assert largest_amount(400) == 7.5
    assert 2.0 <= bright.high <= 4.0
    assert bright.low == -bright.high


def test_an_attribute_that_nearly_all_pictures_share_has_no_direction() -> None:
    noise = np.random.default_rng(0).normal(size=(64, 4))
    white = np.full(64, 255.0)
    assert attribute_effect(noise, white) is None
    white[:3] = 0.0
    assert attribute_effect(noise, white) is None

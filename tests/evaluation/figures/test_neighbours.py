import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from genai_core.evaluation.figures import neighbours
from genai_core.evaluation.figures.neighbours import nearest

GENERATOR = np.random.default_rng(0)
POINTS, QUERIES = GENERATOR.normal(size=(80, 6)), GENERATOR.normal(size=(30, 6))


@pytest.mark.parametrize("chunk_values", [80, 8_000_000])
def test_it_agrees_with_another_library(monkeypatch, chunk_values):
    monkeypatch.setattr(neighbours, "CHUNK_VALUES", chunk_values)
    distances, index = NearestNeighbors(n_neighbors=4).fit(POINTS).kneighbors(QUERIES)
    found = nearest(QUERIES, POINTS, k=4)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-9)
    np.testing.assert_array_equal(found.index, index)


@pytest.mark.parametrize("chunk_values", [160, 8_000_000])
def test_an_image_is_not_its_own_neighbour(monkeypatch, chunk_values):
    monkeypatch.setattr(neighbours, "CHUNK_VALUES", chunk_values)
    expected = NearestNeighbors(n_neighbors=3).fit(POINTS).kneighbors(None)[0][:, -1]
    np.testing.assert_allclose(nearest(POINTS, k=3).distances[:, -1], expected, rtol=1e-9)


def test_an_offset_does_not_reduce_precision():
    moved, plain = (nearest(points, k=2).distances for points in (POINTS + 1e5, POINTS))
    np.testing.assert_allclose(moved, plain, rtol=1e-6)


def test_a_copy_has_distance_0_and_the_first_of_equals_wins():
    twice = np.concatenate([POINTS, POINTS])
    found = nearest(POINTS[:5], twice)
    np.testing.assert_allclose(found.distances, 0, atol=1e-6)
    np.testing.assert_array_equal(nearest(np.zeros((1, 2)), np.ones((6, 2)), k=2).index, [[0, 1]])


def test_more_neighbours_than_images_are_refused():
    with pytest.raises(ValueError, match="expected at least 5 neighbours to choose from, got 4 images"):
        nearest(POINTS[:5], k=5)

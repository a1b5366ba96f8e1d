import json

import numpy as np
import pytest

from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.features import Features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.inception_score import inception_score
from genai_core.evaluation.figures.neighbours import nearest
from genai_core.evaluation.reference import RealImages, build_reference, load_reference, save_reference
from genai_core.evaluation.statistics import feature_stats
from genai_core.image_size import ImageSize
from tests.evaluation.conftest import evaluation_config

SIZE = ImageSize.square(12)


def random_features(count, seed):
    generator = np.random.default_rng(seed)
    return Features(generator.normal(size=(count, 5)).astype(np.float32), generator.normal(size=(count, 3)) * 4)


def build(kind="classifier", test=40, train=200, size=SIZE, **changes):
    features = {"train": random_features(train, 0), "test": random_features(test, 1)}
    labels = {"train": np.arange(train) % 3, "test": np.arange(test) % 3}
    images = RealImages("d" * 64, ("a", "b", "c"), size, 1, labels)
    extractor = ExtractorDescription(kind, 5, 3, size, 1, sha256="e" * 64, resize="none")
    return features, build_reference(features, images, extractor, evaluation_config(**changes))


@pytest.fixture
def folder(tmp_path):
    save_reference(tmp_path, build()[1])
    return tmp_path


def test_the_floor_is_the_distance_of_the_held_out_images():
    features, reference = build()
    train = reference.splits["train"]
    expected = frechet_distance(train.stats, train.root, feature_stats(features["test"].features))
    assert reference.description.floor_fd == pytest.approx(expected)
    assert reference.description.counts == {"train": 200, "test": 40}


def test_the_floor_uses_at_most_as_many_images_as_a_model_is_measured_on():
    assert build(test=40, total_images=30)[1].description.floor_images == 30


def test_the_floor_has_every_figure_that_a_model_has():
    assert set(build()[1].description.floor) == {"fd", "kid", "precision", "recall", "density", "coverage"}


def test_the_near_copy_share_of_held_out_images_is_the_percentile():
    features, reference = build(test=150, near_copy_percentile=10.0)
    distances = nearest(features["test"].features, features["train"].features).distances
    assert (distances <= reference.description.near_copy_distance).mean() == pytest.approx(0.1, abs=0.01)


def test_pairwise_images_are_limited():
    reference = build(pairwise_images=30)[1]
    assert len(reference.splits["train"].balls.features) == 30
    assert len(set(reference.splits["train"].pairwise)) == 30


def test_the_real_score_has_splits_as_large_as_the_generated_ones():
    # 100 generated images in 2 splits are 50 per split, so 100 real ones give 2 splits, and 40 give one.
    features, reference = build(test=40)
    assert reference.description.real_is == pytest.approx(inception_score(features["test"].logits, 1).mean)
    assert build(test=40)[1].description.real_is_std == 0
    assert build(test=100)[1].description.real_is_std > 0


def test_there_is_no_score_without_a_classifier():
    description = build(kind="self_supervised")[1].description
    assert description.real_is is None
    assert description.real_is_std is None


def test_the_size_of_rectangles(tmp_path):
    for name, size, stored in (("wide", ImageSize(12, 20), [12, 20]), ("square", ImageSize.square(12), 12)):
        (tmp_path / name).mkdir()
        save_reference(tmp_path / name, build(size=size)[1])
        assert json.loads((tmp_path / name / "reference.json").read_text())["image_size"] == stored
        assert load_reference(tmp_path / name).description.image_size == size


def test_round_trip(folder):
    saved, loaded = build()[1], load_reference(folder)
    assert loaded.description == saved.description
    for split in ("train", "test"):
        a, b = saved.splits[split], loaded.splits[split]
        for x, y in ((a.features, b.features), (a.stats.mean, b.stats.mean), (a.root, b.root)):
            np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a.stats.covariance, b.stats.covariance)
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.balls.density_radii, b.balls.density_radii)
        assert (a.similarity, a.balls.density_neighbours) == (b.similarity, b.balls.density_neighbours)
        assert a.stats.count == b.stats.count


def test_the_error_for_a_missing_reference_names_its_stage(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `genai run reference`"):
        load_reference(tmp_path)


def test_a_changed_file_is_refused(folder):
    path = folder / "train.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ValueError,
        match=r"the sha256 of train.safetensors differs from the one in reference.json.*run the stage reference",
    ):
        load_reference(folder)


def test_a_missing_file_is_named(folder):
    (folder / "test.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"test.safetensors is missing; try `dvc checkout`"):
        load_reference(folder)


@pytest.mark.parametrize("change", [{"format": 1}, {"unknown": 1}, {"sha256": {}}])
def test_a_damaged_description_is_refused(folder, change):
    path = folder / "reference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match="run the stage reference again"):
        load_reference(folder)

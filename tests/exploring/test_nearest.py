import json
import shutil

import numpy as np
import pytest

from genai_core.evaluation.features import extract_features
from genai_core.evaluation.figures.memorisation import within
from genai_core.evaluation.figures.neighbours import nearest
from genai_core.evaluation.reference import load_reference
from genai_core.exploring.nearest import TrainingImages
from tests.evaluation.conftest import CLASSES, make_dataset


@pytest.fixture(scope="module")
def training(dataset, trained, reference):
    return TrainingImages(dataset, reference, *trained)


def test_a_training_image_is_found_at_distance_0_and_is_a_copy(training, dataset):
    row = dataset.rows("train").iloc[17]
    found = training.near(dataset.images("train")[17], count=3)
    first = found.images[0]
    assert (first.distance, first.copied, first.identical, found.copied) == (0.0, True, True, True)
    assert np.array_equal(first.pixels, dataset.images("train")[17])
    assert first.label == CLASSES[row["label"]]
    assert first.source == row["source"]
    assert found.training_images == 240


def test_other_images_are_found_in_the_order_of_an_exhaustive_search(training, dataset, trained):
    image = dataset.images("test")[3]
    found = training.near(image, count=5)
    features = extract_features(trained[0], dataset.images("train"), 240).features
    expected = nearest(extract_features(trained[0], image[None], 1).features, features, k=5)
    assert [image.distance for image in found.images] == pytest.approx(expected.distances[0], rel=1e-4)
    originals = dataset.images("train")[expected.index[0]]
    assert np.array_equal(np.stack([image.pixels for image in found.images]), originals)
    assert not any(image.identical for image in found.images)


def test_copies_are_those_of_the_published_figure(training, dataset, trained, reference):
    """The figure's own rule, on the images of the test split: about one in a hundred is a near copy."""
    images = dataset.images("test")
    published = load_reference(reference)
    limit = published.description.near_copy_distance
    figure = within(extract_features(trained[0], images, 1).features, published.splits["train"].features, limit)
    answers = [training.near(image, 1) for image in images]
    assert [answer.copied for answer in answers] == figure.copied.tolist()
    assert figure.copied.any()
    assert not figure.copied.all()
    assert {answer.threshold for answer in answers} == {limit}


def test_chunks_change_nothing(training, dataset, monkeypatch):
    image = dataset.images("test")[5]
    whole = training.near(image, 20)
    monkeypatch.setattr("genai_core.exploring.nearest.CHUNK_VALUES", 7 * 8)
    parts = training.near(image, 20)
    assert [near.source for near in parts.images] == [near.source for near in whole.images]
    assert [near.distance for near in parts.images] == pytest.approx([near.distance for near in whole.images])


def test_more_than_there_are_gives_all(training, dataset):
    assert len(training.near(dataset.images("test")[0], 1000).images) == 240


def test_a_count_of_0_is_refused(training, dataset):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        training.near(dataset.images("test")[0], 0)


def test_an_image_of_another_size_is_refused(training):
    with pytest.raises(ValueError, match="takes uint8 images"):
        training.near(np.zeros((1, 8, 8), np.uint8), 1)


def test_images_without_classes_have_no_label(tmp_path, dataset, trained):
    from tests.exploring.conftest import write_reference

    unlabelled = make_dataset(tmp_path / "data", labelled=False)
    folder = write_reference(tmp_path / "reference", unlabelled, *trained)
    assert TrainingImages(unlabelled, folder, *trained).near(unlabelled.images("train")[0], 1).images[0].label is None


@pytest.mark.parametrize(("key", "what"), [("extractor_sha256", "extractor"), ("dataset", "dataset")])
def test_a_reference_of_something_else_is_refused(tmp_path, dataset, trained, reference, key, what):
    copy = shutil.copytree(reference, tmp_path / "reference")
    values = json.loads((copy / "reference.json").read_text())
    (copy / "reference.json").write_text(json.dumps({**values, key: "0" * 64}))
    with pytest.raises(ValueError, match=f"the {what} 0000.* made the reference.*run the stage reference again"):
        TrainingImages(dataset, copy, *trained)


def test_damaged_features_are_refused(tmp_path, dataset, trained, reference):
    copy = shutil.copytree(reference, tmp_path / "reference")
    path = copy / "train.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match=r"sha256 of train.safetensors differs"):
        TrainingImages(dataset, copy, *trained)

import pytest

from genai_core.data.dataset.dataset import SPLITS
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.reference import build_reference, save_reference
from tests.evaluation.conftest import (  # noqa: F401 - fixtures
    dataset,
    evaluation_config,
    one_thread,
    real_images,
    trained,
)


def write_reference(folder, images, extractor, description, **changes):
    """Write what the stage reference writes for a dataset."""
    features = {split: extract_features(extractor, images.images(split), 50) for split in SPLITS}
    folder.mkdir()
    save_reference(folder, build_reference(features, real_images(images), description, evaluation_config(**changes)))
    return folder


@pytest.fixture(scope="session")
def reference(dataset, trained, tmp_path_factory):  # noqa: F811
    """The folder of the reference of the stripes."""
    return write_reference(tmp_path_factory.mktemp("made") / "reference", dataset, *trained)

import numpy as np
import pytest
import torch

from genai_core.evaluation.features import extract_features


def test_the_batch_size_does_not_change_features(trained, dataset):
    images = dataset.images("test")
    whole, parts = extract_features(trained[0], images, 1000), extract_features(trained[0], images, 7)
    np.testing.assert_allclose(whole.features, parts.features, atol=1e-4)
    np.testing.assert_allclose(whole.logits, parts.logits, atol=1e-4)
    assert whole.features.dtype == np.float32
    assert whole.features.shape == (80, 8)


def test_progress_counts_images(trained, dataset):
    seen = []
    extract_features(trained[0], dataset.images("test"), 50, on_progress=seen.append)
    assert seen == [50, 80]


@pytest.mark.parametrize(
    "images", [np.zeros((2, 3, 12, 12), np.uint8), np.zeros((2, 1, 16, 16), np.uint8), np.zeros((2, 1, 12, 12))]
)
def test_images_of_another_shape_or_type_are_refused(trained, images):
    with pytest.raises(ValueError, match=r"the extractor takes uint8 images \(N, C, H, W\)"):
        extract_features(trained[0], images, 10)


def test_a_gpu_measures_in_float32(trained, dataset):
    seen = []
    hook = trained[0].register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32
    extract_features(trained[0], dataset.images("test"), 50)
    hook.remove()
    assert before  # torch's default elsewhere
    assert seen == [False, False]
    assert torch.backends.cudnn.allow_tf32


def test_no_images_are_refused(trained):
    with pytest.raises(ValueError, match="got none"):
        extract_features(trained[0], np.zeros((0, 1, 12, 12), np.uint8), 10)


def test_non_finite_features_are_refused(trained, dataset, monkeypatch):
    monkeypatch.setitem(trained[0]._buffers, "feature_std", trained[0].feature_std * 0)
    with pytest.raises(ValueError, match="non-finite"):
        extract_features(trained[0], dataset.images("test"), 50)

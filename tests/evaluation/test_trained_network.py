import pytest
import torch

from genai_core.evaluation.trained_network import Extractor
from genai_core.image_size import ImageSize


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 3), (64, 1)])
def test_any_size_and_number_of_channels_gives_features_and_logits(size, channels):
    extractor = Extractor(
        width=8,
        feature_dim=5,
        outputs=3,
        image_size=ImageSize.square(size),
        mean=(0.5,) * channels,
        std=(0.0,) * channels,
    )
    output = extractor(torch.randint(256, (4, channels, size, size), dtype=torch.uint8))
    assert output.features.shape == (4, 5)
    assert output.logits.shape == (4, 3)
    assert output.features.isfinite().all()

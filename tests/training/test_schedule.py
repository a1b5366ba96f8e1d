import pytest

from genai_core.training.schedule import learning_rate_share


def share(images_seen, warmup_images=100, decay_share=0.5):
    return learning_rate_share(images_seen, total_images=1000, warmup_images=warmup_images, decay_share=decay_share)


def test_rises_stays_and_falls():
    assert share(10) == pytest.approx(0.1)
    assert share(100) == share(400) == 1.0
    assert share(751) == pytest.approx(0.5)
    assert 0 < share(1000) < 0.01


def test_neither_rise_nor_fall():
    assert share(1, warmup_images=0, decay_share=0.0) == share(1000, warmup_images=0, decay_share=0.0) == 1.0

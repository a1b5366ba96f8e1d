"""What auto stands for among the learning rates of a fine-tuning."""

import pytest

from genai_core.config import load_config
from genai_core.models.adapting.automatic import finetune_rates
from tests.test_rooms import ROOT

CONFIG = load_config(ROOT / "params.yaml").finetune


@pytest.mark.parametrize(
    ("settings", "new_classes", "share", "class_rate"),
    [
        ({}, 0, 0.1, 1.0),
        ({}, 2, 0.75, 10 / 0.75),
        ({"kind": "lora"}, 0, 1.0, 1.0),
        ({"kind": "lora"}, 1, 1.0, 10.0),
        ({"kind": "few_step"}, 0, 1.0, 1.0),
        ({"learning_rate_share": 0.5}, 1, 0.5, 20.0),  # embeddings learn at ten times the model's own rate
        ({"class_rate": 3.0}, 1, 0.75, 3.0),
        ({"learning_rate_share": 0.2, "class_rate": 1.0}, 1, 0.2, 1.0),
        ({"batch_images": 16}, 2, 0.375, 10 / 0.375),  # a quarter of the model's own batch
        ({"batch_images": 16, "learning_rate_share": 0.2}, 0, 0.2, 1.0),
        ({"batch_images": 128}, 0, 0.1, 1.0),  # larger batches take no larger steps
    ],
)
def test_what_is_set_counts_and_the_rest_fits(settings, new_classes, share, class_rate):
    found = finetune_rates(CONFIG.model_copy(update=settings), new_classes, own_batch=64)
    assert (found.share, found.class_rate) == pytest.approx((share, class_rate))
    lowered = settings.get("batch_images", 64) < 64 and "learning_rate_share" not in settings
    assert ("batches of 16 instead of 64" in found.understood) == lowered
    assert ("learning_rate_share" in found.understood) == ("learning_rate_share" not in settings)
    assert ("class_rate" in found.understood) == ("class_rate" not in settings)

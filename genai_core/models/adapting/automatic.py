"""Learning rates of a fine-tuning where `finetune:` says auto.

A class that is new starts as the mean of the others. With Adam, a weight moves by about the learning rate in a step,
and an embedding has further to go than any other weight: at the rate of the rest, it hardly leaves its start, and the
model draws mixtures of the old classes (benchmarks/README.md, "Two classes arrive").

The gradients of smaller batches are noisier, and the share falls with the square root of the batch, as Malladi et al.
2022 (arXiv 2205.10287) found for Adam. They change the means' decay, too, which stays here.
"""

import math
from dataclasses import dataclass

from genai_core.config import FinetuneConfig

# Shares of the model's own learning rate. A few-step model learns to draw in another way, which is not a small change;
# low-rank changes start at zero.
_SHARES = {"full": 0.1, "lora": 1.0, "few_step": 1.0}
_SHARE_WITH_NEW_CLASSES = 0.75
_NEW_CLASSES = 10.0  # learning rate of class embeddings over the model's own, when some are new


@dataclass(frozen=True)
class FinetuneRates:
    """Learning rates of a fine-tuning.

    share: of the model's own learning rate. batch: images per step. class_rate: of class embeddings, over that of the
    last layer. understood: what auto means here, as a sentence; "" without auto.
    """

    share: float
    batch: int
    class_rate: float
    understood: str


def finetune_rates(config: FinetuneConfig, new_classes: int, own_batch: int) -> FinetuneRates:
    """Return the learning rates, with what auto stands for.

    new_classes: how many the model did not draw before. own_batch: images per step of the model's own training.
    """
    batch, found = config.batch_images or own_batch, []
    if isinstance(config.learning_rate_share, str):
        share = _SHARES[config.kind]
        if new_classes:
            share = max(share, _SHARE_WITH_NEW_CLASSES)
        share *= math.sqrt(min(1.0, batch / own_batch))
        why = f" (for batches of {batch} instead of {own_batch})" if batch < own_batch else ""
        found.append(f"learning_rate_share {share:.3g}{why}")
    else:
        share = config.learning_rate_share
    class_rate = _NEW_CLASSES / share if new_classes else 1.0
    if isinstance(config.class_rate, str):
        found.append(f"class_rate {class_rate:.3g}")
    else:
        class_rate = config.class_rate
    why = "because classes are new" if new_classes else f"with kind {config.kind}"
    return FinetuneRates(share, batch, class_rate, f"finetune: auto is {', '.join(found)}, {why}" if found else "")

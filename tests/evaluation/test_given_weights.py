import pytest
import torch
from torch import nn

from genai_core.evaluation.given_weights import Weights, load_weights


def test_weights_of_another_network_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^not of this network \(size mismatch for weight: .*\)$"):
        load_weights(
            nn.Linear(2, 3), Weights({"weight": torch.zeros(1, 1), "bias": torch.zeros(3)}, ""), "not of this network"
        )


def test_a_network_that_raises_without_a_message() -> None:
    class Silent(nn.Module):
        def load_state_dict(self, *_: object, **__: object) -> None:
            raise RuntimeError

    with pytest.raises(ValueError, match=r"^refused \(\)$"):
        load_weights(Silent(), Weights({}, ""), "refused")

import pytest
import torch

from genai_core.training.precision import fabric_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capability", "expected"), [("avx512_bf16", "bf16-mixed"), ("amx_bf16", "bf16-mixed"), ("avx2", "32-true")]
)
def test_auto_depends_on_the_processors_capabilities(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True, "avx512_f": True})
    assert fabric_precision("auto", CPU) == expected


def test_an_explicit_precision_is_used():
    assert fabric_precision("bf16", CPU) == "bf16-mixed"
    assert fabric_precision("fp32", CPU) == "32-true"

"""Number format of training computations."""

from typing import Literal

import torch

FabricPrecision = Literal["bf16-mixed", "32-true"]


def fabric_precision(precision: Literal["auto", "bf16", "fp32"], device: torch.device) -> FabricPrecision:
    """Return the precision under Lightning Fabric's name.

    auto: bf16 if the device multiplies bf16 in hardware, else fp32. It queries the hardware and measures nothing: a
    choice by timing would differ from run to run, and change every weight.
    """
    if precision == "auto":
        return "bf16-mixed" if _has_bf16(device) else "32-true"
    return "bf16-mixed" if precision == "bf16" else "32-true"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions bf16 is emulated, and slower than fp32.
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))

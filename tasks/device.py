"""Where a task's tensors live, and the settings under which the same run gives the same bytes."""

import os

import torch

from genai_core.config import Config
from genai_core.config.machine import usable_memory_bytes


def torch_device(config: Config) -> torch.device:
    """The device that compute.accelerator names; sets torch's threads and determinism for the whole process.

    Raises ValueError when CUDA is asked for and not there.
    """
    torch.set_num_threads(config.compute.cpu_threads)
    # A debugging aid that would cost a pass over every new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # `use_deterministic_algorithms` would do the same, and import the compiler besides, which takes two seconds. What
    # compiles tells it (genai_core/training/compiling.py).
    wanted, cuda = config.compute.accelerator, torch.cuda.is_available()
    if wanted == "cuda" and not cuda:
        raise ValueError("compute.accelerator: got 'cuda', but torch sees no CUDA device; use auto or cpu")
    if wanted == "cpu" or not cuda:
        torch.set_deterministic_debug_mode("error")
        return torch.device("cpu")
    # cuBLAS reads this when its first handle is made: https://docs.nvidia.com/cuda/cublas (results reproducibility).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Some CUDA kernels have no deterministic form: say so and go on.
    torch.set_deterministic_debug_mode("warn")
    # Of the devices that are visible, which the flow put into CUDA_VISIBLE_DEVICES: each process has its own.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def memory_bytes(device: torch.device) -> int:
    """The memory of a GPU, or what this process may use of the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return usable_memory_bytes()

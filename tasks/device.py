"""Device of a task's tensors, and the settings for reproducible runs."""

import os

import torch

from genai_core.config import Config
from genai_core.config.machine import usable_memory_bytes


def torch_device(config: Config) -> torch.device:
    """Return the device in compute.accelerator; sets torch's threads and determinism for the whole process.

    Raises ValueError when CUDA is requested but not available.
    """
    torch.set_num_threads(config.compute.cpu_threads)
    # A debugging aid that costs a pass over every new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # `use_deterministic_algorithms` would also import torch's compiler, which takes two seconds. Training code that
    # compiles sets the compiler's determinism itself (genai_core/training/compiling.py).
    wanted, cuda = config.compute.accelerator, torch.cuda.is_available()
    if wanted == "cuda" and not cuda:
        raise ValueError("compute.accelerator: got 'cuda', but torch sees no CUDA device; use auto or cpu")
    if wanted == "cpu" or not cuda:
        torch.set_deterministic_debug_mode("error")
        return torch.device("cpu")
    # cuBLAS reads this when its first handle is created: https://docs.nvidia.com/cuda/cublas (results reproducibility).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Some CUDA kernels have no deterministic variant: warn and continue.
    torch.set_deterministic_debug_mode("warn")
    # Index among the visible devices, which the flow sets in CUDA_VISIBLE_DEVICES: one per process.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def memory_bytes(device: torch.device) -> int:
    """Return the memory of a GPU, or the machine's memory that this process may use."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return usable_memory_bytes()

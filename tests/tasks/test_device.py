import subprocess
import sys

from tests.tasks.conftest import ROOT

CODE = """
import sys
from pathlib import Path
import torch
from genai_core.config import load_config
from tasks.device import torch_device

print(torch_device(load_config(Path("params.yaml"))).type, torch.are_deterministic_algorithms_enabled())
print(*({"torch._dynamo", "torch._inductor", "sympy"} & set(sys.modules)))
"""


def test_determinism_does_not_import_the_compiler():
    environment = {"CUDA_VISIBLE_DEVICES": "", "PATH": ""}
    answer = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, check=True)
    device, compiler = answer.stdout.decode().split("\n")[:2]
    assert (device, compiler) == ("cpu True", "")

"""Random weights for Inception v3, because the published ones are not part of the project."""

import hashlib

import torch
from torch import nn

from genai_core.evaluation.inception import InceptionNetwork


def write_random_weights(folder):
    """Write a .pth like torch-fidelity's, with activations of the same scale in every layer; return (path, sha256)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = InceptionNetwork("fp32").network
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(network.fc.weight, std=0.3)
    path = folder / "inception.pth"
    torch.save(network.state_dict(), path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def photographs(count, seed, brightness=1.0):
    """Return smooth random colour images (N, 3, 40, 40) uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((count, 3, 5, 5), generator=generator)
    smooth = nn.functional.interpolate(coarse, (40, 40), mode="bicubic").clamp(0, 1)
    return (smooth * 255 * brightness).round().to(torch.uint8)

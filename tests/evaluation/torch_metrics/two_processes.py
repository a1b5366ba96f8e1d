"""One of two processes that measure together."""

import os

import torch
import torch.distributed


def extract(images):
    """Six nonlinear features of the pixels."""
    generator = torch.Generator().manual_seed(7)
    weights = torch.randn((16, 6), generator=generator, dtype=torch.float64)
    return torch.tanh(images.double().flatten(1) / 128 @ weights).float()


def sync(rank, port, real, fake, answers):
    """Measure this rank's half of the images, and put the figures of both into `answers`."""
    from tests.evaluation.torch_metrics.test_states import METRICS, feed, value

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    try:
        found = {name: value(feed(make(), real[rank::2], fake[rank::2])).tolist() for name, make in METRICS.items()}
    finally:
        torch.distributed.destroy_process_group()
    answers.put(found)

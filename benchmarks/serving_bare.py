"""Images per second of the bare loop at its best batch: `python -m benchmarks.serving_bare FOLDER SECONDS`."""

import sys
import time

import torch

from genai_core.model import load_model

BATCHES = (16, 32, 64, 128)


def main() -> None:
    model, seconds = load_model(sys.argv[1], device="auto"), float(sys.argv[2])
    print(max(rate(model.network, model.sampling, len(model.classes), batch, seconds) for batch in BATCHES))


@torch.inference_mode()
def rate(network: "torch.nn.Module", sampling: object, classes: int, batch: int, seconds: float) -> float:
    """Images per second at one batch size, after one batch to warm up."""
    labels = torch.arange(batch) % classes if classes else None
    network.sample(labels, torch.arange(batch), sampling)
    begun, images = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        network.sample(labels, torch.arange(images, images + batch), sampling)
        images += batch
    return images / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()

"""Training images/s of this project's U-Net beside diffusers' UNet2DModel of as many parameters, in turn.

    OMP_WAIT_POLICY=passive python -m benchmarks.training_speed [--threads 2] [--batch 64] [--steps 7] [--clock cpu]

Both at 32x32 with one channel, ten classes and attention at the small sides; forward, backward and a fused AdamW step.
Ours in the precision that `precision: auto` chooses here, channels_last; diffusers' as it comes, in float32. Medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.peers import diffusers_unet
from genai_core.image_size import ImageSize
from genai_core.models.networks.diffusion.unet import UNet
from genai_core.training.precision import fabric_precision

IMAGE_SIZE, CLASSES = 32, 10
OUR_WIDTH = 48
PEER_WIDTHS = (32, 64, 128)
WARM_UP_STEPS = 2
# The parameters must be as many, or the comparison says nothing.
MOST_DIFFERENCE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: the threads' seconds")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    ours = UNet(ImageSize.square(IMAGE_SIZE), 1, CLASSES, OUR_WIDTH, depth=1).to(memory_format=torch.channels_last)
    theirs = diffusers_unet(IMAGE_SIZE, CLASSES, PEER_WIDTHS)
    counts = as_many_parameters(ours, theirs)
    bf16 = fabric_precision("auto", torch.device("cpu")) == "bf16-mixed"
    images = torch.randn(arguments.batch, 1, IMAGE_SIZE, IMAGE_SIZE)
    times, labels = torch.rand(arguments.batch), torch.randint(0, CLASSES, (arguments.batch,))

    def our_output() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output: Tensor = ours(images.contiguous(memory_format=torch.channels_last), times, labels)
        return output

    steps = [
        step_of(ours, our_output),
        step_of(theirs, lambda: theirs(images, times * 1000, class_labels=labels).sample),
    ]
    now = time.monotonic if arguments.clock == "wall" else lambda: time.process_time() / arguments.threads
    seconds: list[list[float]] = [[], []]
    for number in range(WARM_UP_STEPS + arguments.steps):
        for index, step in enumerate(steps):
            began = now()
            step()
            if number >= WARM_UP_STEPS:
                seconds[index].append(now() - began)
    speeds = [arguments.batch / statistics.median(taken) for taken in seconds]
    print(f"| network | parameters | images/s ({arguments.threads} threads, batch {arguments.batch}) |\n|---|---|---|")
    for name, count, speed in zip(("ours", "diffusers UNet2DModel"), counts, speeds, strict=True):
        print(f"| {name} | {count:,} | {speed:.1f} |")
    print(f"\nours over diffusers': {speeds[0] / speeds[1]:.1f}; ours in {'bf16' if bf16 else 'float32'}")


def as_many_parameters(ours: nn.Module, theirs: nn.Module) -> tuple[int, int]:
    """How many parameters each has. Raises ValueError unless they are about as many."""
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (ours, theirs)]
    if abs(counts[0] - counts[1]) > MOST_DIFFERENCE * counts[1]:
        raise ValueError(f"expected networks of as many parameters, got {counts[0]:,} and {counts[1]:,}")
    return counts[0], counts[1]


def step_of(network: nn.Module, output: Callable[[], Tensor]) -> Callable[[], None]:
    """A training step of a network, towards outputs of 0."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        output().float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    main()

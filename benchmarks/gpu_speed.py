"""Training images/s on a GPU: this project's whole training step beside diffusers' UNet2DModel of as many parameters.

    python -m benchmarks.gpu_speed [--batch 512] [--steps 30]

Both at 32x32 with three channels and ten classes, in bf16 by autocast, eager and compiled. Ours is the diffusion model
of presets/cifar10.yaml in the training engine's own step: draws, noise, loss, gradient clipping, AdamW, average and
all. Theirs has the blocks of the DDPM paper's CIFAR-10 network, widened: forward, backward and a fused AdamW step on a
batch that is there. Medians; the matrix peak is a product of 8192 x 8192 in the same run.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers import diffusers_unet
from benchmarks.training_speed import as_many_parameters, step_of
from flows.presets import write_preset
from genai_core.config import load_config
from genai_core.data.dataset.loader import ResidentBatches
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.protocol import ImageShape
from genai_core.training.compiling import compiled
from genai_core.training.cost import count_cost
from genai_core.training.ranks import Ranks, launch
from genai_core.training.run import begin
from genai_core.training.step import Stepper

DEVICE = torch.device("cuda")
SHAPE = ImageShape(ImageSize.square(32), 3, tuple("0123456789"))
PEER_WIDTHS = (160, 320, 320, 320)
PEER_BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D")
WARM_UP_STEPS = 5
MATRIX_SIDE = 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*deterministic.*")
    torch.manual_seed(0)
    recipe = preset_recipe(arguments.batch)
    model = build_model(recipe, SHAPE)
    theirs = diffusers_unet(32, 10, PEER_WIDTHS, channels=3, down_blocks=PEER_BLOCKS).to(DEVICE)
    counts = as_many_parameters(model.network, theirs)
    flops = sum(count_cost(model, arguments.batch).training_flops.values())
    peak = matrix_peak()
    print(
        f"{torch.cuda.get_device_name()}; {peak / 1e12:.0f} TFLOP/s in a bf16 product of {MATRIX_SIDE} x {MATRIX_SIDE}"
    )
    print(f"ours: {flops / 1e9:.1f} GFLOPs a training image\n")
    print("| network | parameters | images/s | of the matrix peak | peak memory |\n|---|---|---|---|---|")

    def row(name: str, count: int, step: Callable[[], object], flops: int | None) -> None:
        torch.cuda.reset_peak_memory_stats()
        speed = arguments.batch / median_seconds(step, arguments.steps)
        share = "" if flops is None else f"{speed * flops / peak:.1%}"
        memory = torch.cuda.max_memory_allocated() / 2**20
        print(f"| {name} | {count:,} | {speed:,.0f} | {share} | {memory:,.0f} MB |", flush=True)

    plain = engine_step(model, SHAPE, recipe, records=False)
    row("ours, not recorded", counts[0], plain, flops)
    step = engine_step(model, SHAPE, recipe)
    row("ours", counts[0], step, flops)
    # As the pipeline's stages run, so that the same run gives the same bytes.
    torch.use_deterministic_algorithms(True, warn_only=True)
    row("ours, deterministic", counts[0], step, flops)
    with compiled(model.sampled_network()):
        row("ours, deterministic, compiled", counts[0], step, flops)
    torch.use_deterministic_algorithms(False)
    images = torch.randn((arguments.batch, 3, 32, 32), device=DEVICE)
    times = torch.rand(arguments.batch, device=DEVICE) * 1000
    labels = torch.randint(0, 10, (arguments.batch,), device=DEVICE)

    def their_output() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            output: Tensor = theirs(images, times, class_labels=labels).sample
        return output

    their_step = step_of(theirs, their_output)
    row("diffusers UNet2DModel", counts[1], their_step, None)
    theirs.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    their_step = step_of(theirs, their_output)  # its optimizer's moments must lie as the weights do
    row("diffusers UNet2DModel, channels_last", counts[1], their_step, None)
    with compiled(theirs):
        row("diffusers UNet2DModel, channels_last, compiled", counts[1], their_step, None)


def preset_recipe(batch_images: int) -> Any:
    """The diffusion model of presets/cifar10.yaml, in batches of that size."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_config(write_preset(Path(folder), "cifar10", force=False)).model("diffusion")
    training = recipe.training.model_copy(update={"batch_images": batch_images})
    return recipe.model_copy(update={"training": training})


def engine_step(
    model: Any, shape: ImageShape, recipe: Any, *, share: float = 0.1, records: bool = True
) -> Callable[[], object]:
    """The step that genai_core.training takes when `share` of a run is over, on images that lie on the GPU."""
    batch_images = recipe.training.batch_images
    images = np.random.default_rng(0).integers(0, 256, (10_000, *shape.chw), dtype=np.uint8)
    labels = np.arange(len(images)) % len(shape.classes)
    batches = ResidentBatches(images, labels, batch_images=batch_images, seed=0, device=DEVICE)
    fabric = launch(DEVICE, "bf16-mixed", 1, 1)
    stepper = Stepper(fabric, Ranks(fabric), recipe.training)
    stepper.records = records
    run = begin(model.to(DEVICE).train(), recipe.training, batch_images)

    def step() -> None:
        stepper.step(run, batches.at(run.step), share=share)
        run.step += 1

    return step


def median_seconds(step: Callable[[], object], steps: int) -> float:
    """The median of five stretches of steps, each over its number of steps: the GPU works ahead of the processor."""
    for _ in range(WARM_UP_STEPS):
        step()
    torch.cuda.synchronize()
    taken = []
    for _ in range(5):
        began = time.monotonic()
        for _ in range(steps // 5):
            step()
        torch.cuda.synchronize()
        taken.append((time.monotonic() - began) / (steps // 5))
    return statistics.median(taken)


def matrix_peak() -> float:
    """Operations a second of a large bf16 product."""
    left, right = (torch.randn((MATRIX_SIDE, MATRIX_SIDE), device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * MATRIX_SIDE**3 / median_seconds(lambda: left @ right, 50)


if __name__ == "__main__":
    main()

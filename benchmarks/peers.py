"""What a user would pick instead: two diffusion libraries from the package registry, with the settings they come with.

Install them with `pip install -e .[peers]`, or benchmarks/peers.lock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genai_core.data.dataset.loader import ResidentBatches
from genai_core.models.protocol import to_unit
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.ema import Ema, ema_decay
from genai_core.training.loop import TrainingStoppedError
from genai_core.training.schedule import learning_rate_share

DDIM_STEPS = 50
BATCH_IMAGES = 32
# Both libraries' examples say 1e-4, for runs of days; within minutes that learns next to nothing.
LEARNING_RATE = 5e-4


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    images: int
    seconds: float


@dataclass(frozen=True)
class Peer:
    """A peer's model: what is trained, its loss on images in [-1, 1], and how it draws n images in [-1, 1]."""

    network: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]  # images (B, C, H, W), labels (B,)
    draw: Callable[[Tensor, int], Tensor]  # labels (B,), seed -> images (B, C, H, W)
    conditional: bool


def denoising_diffusion_pytorch(image_size: int, device: torch.device) -> Peer:
    """The library's Unet (dim 32, 2.6 M parameters), v-prediction on its sigmoid schedule; it knows no classes."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    network = Unet(dim=32, dim_mults=(1, 2, 4), channels=1)
    diffusion = GaussianDiffusion(network, image_size=image_size, timesteps=1000, sampling_timesteps=DDIM_STEPS)
    diffusion.to(device)

    def loss(images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001 - unconditional
        value: Tensor = diffusion((images + 1) / 2)
        return value

    def draw(labels: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        drawn: Tensor = diffusion.sample(batch_size=len(labels))
        return drawn * 2 - 1

    return Peer(network, loss, draw, conditional=False)


def diffusers_unet(
    image_size: int,
    classes: int,
    widths: tuple[int, ...],
    channels: int = 1,
    down_blocks: tuple[str, ...] = ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
) -> Any:
    """diffusers' UNet2DModel of those widths and blocks, mirrored on the way up, conditioned on the class."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=image_size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=2,
        block_out_channels=widths,
        down_block_types=down_blocks,
        up_block_types=tuple(block.replace("Down", "Up") for block in reversed(down_blocks)),
        num_class_embeds=classes,
    )


def diffusers(image_size: int, classes: int, device: torch.device) -> Peer:
    """UNet2DModel (32, 64, 128; 3.9 M parameters) with the DDPM recipe of diffusers' training example."""
    from diffusers import DDIMScheduler, DDPMScheduler

    network = diffusers_unet(image_size, classes, (32, 64, 128)).to(device)
    training, sampling = DDPMScheduler(num_train_timesteps=1000), DDIMScheduler(num_train_timesteps=1000)
    sampling.set_timesteps(DDIM_STEPS)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        noise, times = torch.randn_like(images), torch.randint(0, 1000, (len(images),), device=device)
        predicted = network(training.add_noise(images, noise, times), times, class_labels=labels).sample
        return nn.functional.mse_loss(predicted, noise)

    @torch.inference_mode()
    def draw(labels: Tensor, seed: int) -> Tensor:
        images = torch.randn((len(labels), 1, image_size, image_size), generator=torch.Generator().manual_seed(seed))
        images, labels = images.to(device), labels.to(device)
        for moment in sampling.timesteps:
            images = sampling.step(network(images, moment, class_labels=labels).sample, moment, images).prev_sample
        return images

    return Peer(network, loss, draw, conditional=True)


def train_peer(
    peer: Peer,
    batches: ResidentBatches,
    batch_images: int,
    seconds: float,
    checkpoints: Checkpoints,
    stop_requested: Callable[[], bool],
) -> Trained:
    """The usual loop, with our schedule: a short rise, and a linear fall over the second half.

    Raises TrainingStoppedError, once a checkpoint is saved, when `stop_requested` says so; the next call goes on.
    """
    optimizer = torch.optim.Adam(peer.network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    ema = Ema(peer.network)
    step, spent = 0, 0.0
    state = checkpoints.load()
    if state is not None:
        peer.network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state_dict(state["ema"])
        torch.set_rng_state(state["random"])
        step, spent = state["step"], state["seconds"]
    peer.network.train()
    told, began = spent, time.monotonic() - spent
    while spent < seconds:
        batch = batches.at(step)
        assert batch.labels is not None
        loss = peer.loss(to_unit(batch.images), batch.labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.network.parameters(), 1.0)
        fall = learning_rate_share(spent / seconds, 0, warmup_images=0, decay_share=0.5)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, step / 30, fall)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # Few images fit into the time: of a young average a twentieth of them (Karras et al. 2022).
        ema.update(ema_decay(batch_images, min(4_000, step * batch_images / 20)))
        step, spent = step + 1, time.monotonic() - began
        if spent - told > 20:
            told = spent
            print(f"  {spent:.0f} s, {step * batch_images:,} images: loss {float(loss.detach()):.3g}", flush=True)
        if stop_requested():
            networks = {
                "network": peer.network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema": ema.state_dict(),
            }
            checkpoints.save(step, {**networks, "random": torch.get_rng_state(), "step": step, "seconds": spent})
            raise TrainingStoppedError(f"stopped after {step * batch_images:,} images; a checkpoint is saved")
    ema.write_to_network()
    return Trained(step * batch_images, spent)

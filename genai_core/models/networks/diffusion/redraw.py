"""Denoisers that keep a part of an image, and that are watched."""

import torch
from torch import Tensor

from genai_core.models.editing import Start, Watch
from genai_core.models.networks.diffusion.ode import Denoise
from genai_core.models.protocol import to_uint8


def base_of(start: Start | None) -> Tensor | None:
    """Return the images to which noise is added, (N, C, H, W); None for none.

    At strength 1 that is only what the mask keeps.
    """
    if start is None or (start.strength == 1 and start.mask is None):
        return None
    if start.mask is None or start.strength < 1:
        return start.images
    return start.images.masked_fill(start.mask, 0.0)


def keeping(denoise: Denoise, images: Tensor, mask: Tensor) -> Denoise:
    """Return a denoiser that knows the images (N, C, H, W) outside the mask (N, 1, H, W), True where to redraw.

    Where the clean image is known, the probability flow from image plus noise stays on image plus noise of the current
    level. Every solver therefore sees the kept part at the right noise level, as if it were replaced before each step
    (Song et al. 2021, arXiv 2011.13456, section 5; Lugmayr et al. 2022, RePaint, arXiv 2201.09865, eq. 8).
    """

    def estimate(noisy: Tensor, sigma: float) -> Tensor:
        return torch.where(mask, denoise(noisy, sigma), images)

    return estimate


def watched(denoise: Denoise, evaluations: int, watch: Watch) -> Denoise:
    """Return a denoiser that reports each of `evaluations` calls to `watch`, with its estimate of the images."""
    done = 0

    def estimate(noisy: Tensor, sigma: float) -> Tensor:
        nonlocal done
        clean = denoise(noisy, sigma)
        done += 1
        watch(done, evaluations, lambda: to_uint8(clean))
        return clean

    return estimate

"""Ways between images in their noise, and the noise nearest to an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genai_core.config import SamplingConfig
from genai_core.drawing.batches import Batch, run_batches
from genai_core.drawing.description import Drawing, DrawingError, check_drawing
from genai_core.models.editing import slerp
from genai_core.models.protocol import to_unit

if TYPE_CHECKING:
    from genai_core.model import Model

Noise = npt.NDArray[np.float32]

_CORNERS = 4
# Where the search for the nearest noise begins: the best of this many random images, each at a time in one batch.
_CANDIDATE_BATCHES, _BATCH = 8, 16


@dataclass(frozen=True, eq=False)
class Encoded:
    """The noise nearest to an image.

    noise: float32 of the model's noise_shape. pixels: what it draws, (C, H, W) uint8. error: root of the mean squared
    difference to the image, in grey levels of 0 to 255.
    """

    noise: Noise
    pixels: npt.NDArray[np.uint8]
    error: float


def walk(points: Sequence[Noise], shares: Sequence[float]) -> Noise:
    """Return the noise between two or four points, float32 of their shape, on arcs of equal angles.

    Two points: shares is (s,), 0 at the first and 1 at the second. Four: the corners top left, top right, bottom left
    and bottom right, and shares is (across, down). Raises ValueError for other numbers of points or shares.
    """
    if (len(points), len(shares)) not in {(2, 1), (_CORNERS, 2)}:
        raise ValueError(
            f"expected two points and one share, or four points and two, got {len(points)} and {len(shares)}"
        )
    rows = [torch.from_numpy(np.asarray(point, dtype=np.float32)).reshape(1, -1) for point in points]
    across = shares[0]
    between = _arc(rows[0], rows[1], across)
    if len(points) == _CORNERS:
        between = _arc(between, _arc(rows[2], rows[3], across), shares[1])
    found: Noise = between.reshape(np.shape(points[0])).numpy()
    return found


def _arc(begin: Tensor, end: Tensor, share: float) -> Tensor:
    # The ends exactly, so that a walk begins with the same pixels as its first image.
    return begin if share == 0 else end if share == 1 else slerp(begin, end, share)


def encode(
    model: "Model", image: npt.NDArray[np.uint8], weights: tuple[float, ...] | None, sampling: SamplingConfig
) -> Encoded:
    """Find the noise from which the model draws an image nearest to `image` (C, H, W) uint8.

    weights: the classes, as in a Drawing. Takes a bounded number of network evaluations: VAE and VQ-VAE use their
    encoders, a GAN searches from its nearest of 128 random images, a diffusion model reverses its probability flow.
    Raises DrawingError when image or weights do not fit the model.
    """
    if not isinstance(image, np.ndarray):
        raise DrawingError("image: expected an array")
    check_drawing(model, Drawing(0, weights, start=image))
    found: list[Encoded] = []

    def work(batch: Batch) -> None:
        with model.autocast():
            found.append(_encode(model, image, weights, sampling, batch.size))

    # Only a search has something to choose from: encoders give the same noise in every row.
    run_batches(work, [Batch((0,), _BATCH if model.network.searches else 1)], model.device, 1)
    return found[0]


def _encode(
    model: "Model",
    image: npt.NDArray[np.uint8],
    weights: tuple[float, ...] | None,
    sampling: SamplingConfig,
    rows: int,
) -> Encoded:
    network, device = model.network, model.device
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device)
    target = to_unit(pixels[None].expand(rows, *pixels.shape))
    classes = None if weights is None else torch.tensor([weights] * _BATCH, dtype=torch.float32, device=device)

    def drawn(noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return what noise draws, uint8, and its error per image; in a whole batch, as `draw` draws it."""
        full = torch.cat([noise, noise[-1:].expand(_BATCH - len(noise), *noise.shape[1:])])
        images = network.sample_from(full, classes, sampling)[: len(noise)]
        return images, (images.float() - pixels.float()).square().mean(dim=(1, 2, 3)).sqrt()

    begin = network.noise(torch.arange(rows)).to(device)
    if network.searches:
        candidates = network.noise(torch.arange(_CANDIDATE_BATCHES * rows)).to(device)
        errors = torch.cat([drawn(part)[1] for part in candidates.chunk(_CANDIDATE_BATCHES)])
        begin = candidates[errors.argsort()[:rows]]
    noise = network.encode(target, None if classes is None else classes[:rows], sampling, begin)
    images, errors = drawn(noise)
    best = int(errors.argmin())
    return Encoded(noise[best].cpu().numpy(), images[best].cpu().numpy(), float(errors[best]))

"""How well a classifier tells images from their mirror images.

If it can, mirroring changes what is seen: digits, writing, shoes that all point to the left. The classifier is linear
in fixed features: the responses of patches of the images themselves, rectified and averaged over 4 x 4 regions (Coates
and Ng 2011). It sees only the difference between the features of an image and of its mirror image. So it has no offset,
and 0.5 is chance whatever the images are.
"""

import numpy as np
import numpy.typing as npt

from genai_core.data.dataset.facts import Pixels

LEAST_IMAGES = 100
_SIDE, _PATCH, _REGIONS = 16, 5, 4
_PATCHES = 48
_FOLDS = 5
_RIDGE = 0.1  # relative to the mean of the kernel's diagonal

Floats = npt.NDArray[np.float64]


def mirrored_accuracy(images: Pixels) -> float | None:
    """Return the cross-validated accuracy on images (N, C, H, W), H = W a multiple of 16; None for too few images."""
    if len(images) < LEAST_IMAGES:
        return None
    grey = _reduced(images)
    generator = np.random.default_rng(0)
    patches = _patches(grey, generator)
    difference = _features(grey, patches) - _features(grey[:, :, ::-1], patches)
    difference /= difference.std() + 1e-12
    folds = generator.permutation(len(images)) % _FOLDS
    right = 0.0
    for fold in range(_FOLDS):
        known, new = difference[folds != fold], difference[folds == fold]
        kernel = known @ known.T
        ridge = _RIDGE * kernel.trace() / len(known) + 1e-9
        weights = known.T @ np.linalg.solve(kernel + ridge * np.eye(len(known)), np.ones(len(known)))
        scores = new @ weights
        right += float((scores > 0).sum() + 0.5 * (scores == 0).sum())
    return right / len(images)


def _reduced(images: Pixels) -> Floats:
    """Return grey images (N, 16, 16), each with mean 0 and deviation 1."""
    factor = images.shape[-1] // _SIDE
    grey = images.mean(axis=1).reshape(len(images), _SIDE, factor, _SIDE, factor).mean(axis=(2, 4))
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    reduced: Floats = grey / (grey.std(axis=(1, 2), keepdims=True) + 1e-6)
    return reduced


def _windows(grey: Floats) -> Floats:
    """Return all patches of images (N, S, S): (N, P, P, pixels), P = S - _PATCH + 1."""
    found = np.lib.stride_tricks.sliding_window_view(grey, (_PATCH, _PATCH), axis=(1, 2))
    return found.reshape(*found.shape[:3], -1)


def _patches(grey: Floats, generator: np.random.Generator) -> Floats:
    """Return random patches (patches, pixels) of the images, and the mirror image of each, with mean 0 and length 1."""
    windows = _windows(grey)
    place = [generator.integers(0, limit, _PATCHES) for limit in windows.shape[:3]]
    chosen = windows[place[0], place[1], place[2]]
    mirrored = chosen.reshape(-1, _PATCH, _PATCH)[:, :, ::-1].reshape(len(chosen), -1)
    both = np.concatenate([chosen, mirrored])
    both -= both.mean(axis=1, keepdims=True)
    scaled: Floats = both / (np.linalg.norm(both, axis=1, keepdims=True) + 1e-6)
    return scaled


def _features(grey: Floats, patches: Floats) -> Floats:
    """Return the rectified responses of images (N, S, S), averaged over regions: (N, features)."""
    response = np.maximum(_windows(grey) @ patches.T, 0)  # (N, P, P, patches)
    regions = [np.array_split(np.arange(response.shape[1]), _REGIONS)] * 2
    pooled = [response[:, rows][:, :, columns].mean(axis=(1, 2)) for rows in regions[0] for columns in regions[1]]
    return np.concatenate(pooled, axis=1)

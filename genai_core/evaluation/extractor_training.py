"""Train the extractor on the dataset's own images: to predict their class, or how far they were rotated."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genai_core.config import TrainedExtractorConfig, extractor_kind
from genai_core.data.dataset.dataset import Dataset, Split
from genai_core.evaluation.extractor import trained_extractor
from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.trained_network import Extractor
from genai_core.image_size import ImageSize

OnProgress = Callable[[int, Mapping[str, float]], None]

# Images per pass without gradients: large enough for speed, small enough for any device.
PASS_IMAGES = 500
WARMUP_SHARE, DECAY_SHARE = 0.1, 0.6
WEIGHT_DECAY = 0.05
REPORT_EVERY_STEPS = 20
# The four rotations by quarter turns, counter-clockwise: the classes of the pretext task.
ROTATIONS = 4


def train_extractor(
    config: TrainedExtractorConfig, dataset: Dataset, device: torch.device, on_progress: OnProgress
) -> tuple[Extractor, ExtractorDescription]:
    """Train an extractor, standardise it on the train split and measure its accuracy on the test split.

    Raises ValueError when the dataset has no classes to learn, or when training diverges.
    """
    info = dataset.info
    kind = extractor_kind(config.kind, len(info.classes))
    _check_kind(kind, info.classes)
    description = ExtractorDescription(
        kind=kind,
        width=config.width,
        feature_dim=config.feature_dim,
        outputs=len(info.classes) if kind == "classifier" else ROTATIONS,
        image_size=info.image_size,
        channels=info.channels,
        resize="none",
        classes=info.classes,
        mean=info.mean,
        std=info.std,
        test_accuracy=0.0,
        dataset=info.fingerprint,
        sha256="",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        extractor = trained_extractor(description).to(device)
    _fit(extractor, kind, config, dataset, device, on_progress)
    extractor.eval().requires_grad_(False)
    _standardise(extractor, torch.from_numpy(dataset.images("train")))
    images, targets = _split(kind, dataset, "test")
    return extractor, replace(description, test_accuracy=_accuracy(extractor, images, targets))


def _check_kind(kind: str, classes: tuple[str, ...]) -> None:
    if kind == "classifier" and len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no labels"
        raise ValueError(
            f"extractor.kind: classifier needs images of two or more classes, this dataset has {found}; set "
            "extractor.kind to auto and selection.metric to fd_auto in params.yaml"
        )


def _split(kind: str, dataset: Dataset, split: Split) -> tuple[Tensor, Tensor]:
    """Return images (N, C, H, W) uint8 and targets (N,) int64; rotated copies of the middle if self-supervised."""
    images, labels = torch.from_numpy(dataset.images(split)), dataset.labels(split)
    if kind == "classifier" and labels is not None:
        return images, torch.from_numpy(labels.copy())
    side = dataset.info.image_size.shorter
    top, left = ((own - side) // 2 for own in dataset.info.image_size)
    middle = images[:, :, top : top + side, left : left + side]
    rotated = torch.cat([torch.rot90(middle, turns, (2, 3)) for turns in range(ROTATIONS)])
    return rotated, torch.arange(ROTATIONS).repeat_interleave(len(images))


def _fit(
    extractor: Extractor,
    kind: str,
    config: TrainedExtractorConfig,
    dataset: Dataset,
    device: torch.device,
    on_progress: OnProgress,
) -> None:
    """Train with AdamW, warm-up and linear decay on randomly shifted images; decorrelate the embedding's features.

    With the cross entropy alone, all images of a class collapse to one point ("neural collapse", Papyan et al. 2020). A
    generator that knows three images per class would then have nearly the distance of a perfect one. The covariance
    term of VICReg (Bardes et al. 2022, arXiv 2105.04906, eq. 4) preserves the differences within a class.

    Turned by a quarter, a rectangle would be told by its shape alone. The rotations are therefore of squares of its
    shorter side, at random places; the network, which has no fixed size, then measures whole images.
    """
    size = dataset.info.image_size
    shift_px = max(1, size.shorter // 16)
    images = _padded(dataset.images("train"), shift_px).to(device)
    labels = dataset.labels("train")
    targets = None if kind != "classifier" or labels is None else torch.from_numpy(labels.copy()).to(device)
    window = size if targets is not None else ImageSize.square(size.shorter)
    steps = max(1, config.total_images // config.batch_images)
    optimizer = torch.optim.AdamW(
        extractor.parameters(), lr=config.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
    )
    generator = torch.Generator().manual_seed(config.seed)
    extractor.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step / steps)
        index = torch.randint(len(images), (config.batch_images,), generator=generator).to(device)
        batch = _shifted(images, index, window, generator)
        if targets is None:
            batch, wanted = _rotated(batch)
        else:
            wanted = targets[index]
        output = extractor(batch)
        loss = functional.cross_entropy(output.logits, wanted)
        loss = loss + config.decorrelation * _off_diagonal(output.embedding)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if (step + 1) % REPORT_EVERY_STEPS == 0 or step + 1 == steps:
            value = float(loss.detach())
            if not np.isfinite(value):
                raise ValueError(
                    f"the extractor's loss is {value} after {(step + 1) * config.batch_images} images: "
                    f"extractor.learning_rate {config.learning_rate} is too high; try a third of it"
                )
            on_progress((step + 1) * config.batch_images, {"loss": value})


def _schedule(done: float) -> float:
    """Return the learning rate's factor after the share `done` of the steps."""
    return min(1.0, (done + 1e-3) / WARMUP_SHARE, (1 - done) / DECAY_SHARE)


def _padded(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], shift_px: int) -> Tensor:
    sides = (shift_px, shift_px)
    return torch.from_numpy(np.pad(images, ((0, 0), (0, 0), sides, sides), mode="edge"))


def _shifted(padded: Tensor, index: Tensor, window: ImageSize, generator: torch.Generator) -> Tensor:
    """Return a window at a random place of each padded image (N, C, H, W) at `index`: (B, C, *window)."""
    rows, columns = (
        torch.randint(outer - inner + 1, (len(index), 1), generator=generator).to(padded.device)
        + torch.arange(inner, device=padded.device)
        for outer, inner in zip(padded.shape[2:], window, strict=True)
    )
    cut = padded[index[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2).contiguous()


def _rotated(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate a quarter of the images by each angle (Gidaris et al. 2018, arXiv 1803.07728); return the turns too."""
    groups = [torch.rot90(batch[turns::ROTATIONS], turns, (2, 3)) for turns in range(ROTATIONS)]
    sizes = torch.tensor([len(group) for group in groups])
    return torch.cat(groups), torch.arange(ROTATIONS).repeat_interleave(sizes).to(batch.device)


def _off_diagonal(embedding: Tensor) -> Tensor:
    """Sum of the squared covariances between different features of a batch (B, D), divided by D."""
    covariance = embedding.T @ embedding / len(embedding)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / embedding.shape[1]


def _standardise(extractor: Extractor, images: Tensor) -> None:
    """Give each feature mean 0 and variance 1 over `images` (N, C, H, W) uint8."""
    device = extractor.feature_mean.device
    embedding = torch.cat(
        [extractor(batch.to(device)).embedding for batch in torch.split(images, PASS_IMAGES)]
    ).double()
    extractor.feature_mean.copy_(embedding.mean(0))
    extractor.feature_std.copy_(embedding.std(0, correction=0).clamp(min=1e-3))


def _accuracy(extractor: Extractor, images: Tensor, targets: Tensor) -> float:
    device = extractor.feature_mean.device
    logits = torch.cat([extractor(batch.to(device)).logits.cpu() for batch in torch.split(images, PASS_IMAGES)])
    return round(float((logits.argmax(1) == targets).double().mean()), 4)

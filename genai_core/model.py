"""Library interface to a trained model: `load_model`, `draw`, `save`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from genai_core import GenaiError
from genai_core.config import SamplingConfig
from genai_core.drawing.description import Drawing, one_hot
from genai_core.drawing.drawing import draw
from genai_core.models.artifact import (
    SELECTION_FILE,
    WEIGHTS_FILE,
    ModelDescription,
    parse_sampling,
    read_config,
    selected_sampling,
)
from genai_core.models.artifact import load_model as load_network
from genai_core.models.protocol import GenerativeModel
from genai_core.reporting.grids import choose_by_class, class_grid, image_grid, png_bytes, save_png
from genai_core.sampling.batch import BatchWriter, Provenance, write_batch
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images

_WRITTEN_IMAGES = 512  # kept in memory until they are written
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Classes = str | int | Sequence[str | int] | None


class ModelError(GenaiError, ValueError):
    """The given folder, classes or options do not fit the model."""


@dataclass(frozen=True)
class Images:
    """Generated images, with everything needed to generate them again.

    pixels: (N, C, H, W) uint8. labels: (N,) int64, indices into `classes`; None for a model without classes.
    seeds: (N,) int64, one per image.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    seeds: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Image.Image:
        """Return one image as a Pillow image."""
        pixels = self.pixels[index]
        return Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))

    def grid(self) -> Image.Image:
        """Return a grid of at most 100 of the images, one row per class."""
        return class_grid(self.pixels, self.labels, self.classes)

    def save(self, folder: str | Path) -> Path:
        """Write images/000000.png and so on, manifest.parquet, provenance.json and grid.png into a new folder.

        Raises FileExistsError when the folder exists already.
        """
        out = Path(folder)
        out.mkdir(parents=True)
        self.write(out, "png")
        return out

    def write(self, folder: Path, form: Literal["png", "tar"]) -> None:
        """Write the same files into an empty folder; "tar": with the images in archives."""
        write_batch(folder, self.pixels, self.labels, self.seeds, self.classes, form, self.provenance)
        save_png(folder / "grid.png", self.grid())

    def _repr_png_(self) -> bytes:
        """Return the grid, which notebooks display."""
        return png_bytes(self.grid())


@dataclass(frozen=True)
class Model:
    """A trained model, ready to generate images.

    sampling: the sampling options: the selected ones if selection.json is next to the weights, else the options of the
    previews during training.
    """

    network: GenerativeModel
    description: ModelDescription
    sampling: SamplingConfig
    dtype: torch.dtype

    @property
    def family(self) -> str:
        return self.description.config.family

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty if there are none."""
        return self.description.shape.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: channels, height and width in pixels."""
        return self.description.shape.chw

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def draw(
        self,
        images: int = 16,
        *,
        classes: Classes = None,
        seed: int = 0,
        batch_images: int | None = None,
        on_progress: Callable[[int], None] | None = None,
        **sampling: Any,
    ) -> Images:
        """Generate `images` images; image i depends only on its class and on seed + i, not on the batch.

        classes: a name or an index, or one per image; None cycles through all classes. batch_images: how many are
        computed at once; with a number, rounding may change a pixel by one grey level, and None chooses batches that
        never do. on_progress: called with the number of images done. sampling: options of the model's family that
        replace the selected ones, such as `steps=20`. Raises ModelError, which lists what is allowed, and ValueError
        for seeds beyond 2**32 - 1.
        """
        if images < 1:
            raise ModelError(f"images: expected at least 1, got {images}")
        labels, seeds = self._labels(classes, images), image_seeds(images, seed)
        options = self.sampling_with(sampling)
        chosen = [None] * images if labels is None else labels.tolist()
        if batch_images is None:
            drawings = [
                Drawing(seed, one_hot(label, len(self.classes)))
                for seed, label in zip(seeds.tolist(), chosen, strict=True)
            ]
            pixels = draw(self, drawings, options, on_progress=on_progress)
        else:
            with self.autocast():
                pixels = sample_images(self.network, labels, seeds, options, batch_images, on_progress)
        provenance = Provenance(
            model_sha256=self.description.sha256[WEIGHTS_FILE],
            family=self.family,
            dataset=self.description.dataset,
            sampling=options.model_dump(mode="json"),
            seed=seed,
        )
        numbers = None if labels is None else labels.numpy()
        return Images(pixels, numbers, seeds.numpy(), self.classes, provenance)

    def draw_into(
        self,
        folder: Path,
        images: int,
        *,
        form: Literal["png", "tar"] = "png",
        classes: Classes = None,
        seed: int = 0,
        batch_images: int | None = None,
        on_progress: Callable[[int], None] | None = None,
        **sampling: Any,
    ) -> Provenance:
        """Write the files of `draw(...).write(folder, form)`, and keep only one batch of pixels in memory.

        For any number of images. Arguments and errors as for `draw`; `folder` is empty.
        """
        if images < 1:
            raise ModelError(f"images: expected at least 1, got {images}")
        labels, seeds = self._labels(classes, images), image_seeds(images, seed)
        numbers = None if labels is None else labels.numpy()
        grid = choose_by_class(numbers, images, self.classes)
        shown: dict[int, npt.NDArray[np.uint8]] = {}
        writer: BatchWriter | None = None
        with ExitStack() as stack:
            step = batch_images or _WRITTEN_IMAGES
            for begin in range(0, images, step):
                part = slice(begin, begin + step)
                drawn = self.draw(
                    len(seeds[part]),
                    classes=None if numbers is None else numbers[part].tolist(),
                    seed=seed + begin,
                    batch_images=batch_images,
                    on_progress=None if on_progress is None else partial(_beyond, begin, on_progress),
                    **sampling,
                )
                if writer is None:
                    provenance = drawn.provenance
                    writer = stack.enter_context(BatchWriter(folder, self.classes, form, provenance))
                writer.add(drawn.pixels, drawn.labels, drawn.seeds)
                wanted = grid.index[(grid.index >= begin) & (grid.index < begin + len(drawn))]
                shown |= {int(index): drawn.pixels[index - begin].copy() for index in wanted}
            assert writer is not None
            writer.finish()
        white = np.full(self.shape, 255, dtype=np.uint8)
        cells = np.stack([shown.get(int(index), white) for index in grid.index])
        save_png(folder / "grid.png", image_grid(cells, grid.columns, row_captions=grid.row_captions))
        return provenance

    def sampling_with(self, changes: Mapping[str, Any]) -> SamplingConfig:
        """Return the selected sampling options with `changes`. Raises ModelError, which lists what is allowed."""
        values = self.sampling.model_dump(mode="json")
        if unknown := sorted(changes.keys() - values.keys()):
            raise ModelError(f"{self.family} has no option {', '.join(unknown)}; available: {', '.join(values)}")
        try:
            return parse_sampling(self.family, {**values, **changes})
        except ValueError as error:
            raise ModelError(str(error)) from None

    def autocast(self) -> torch.autocast:
        """Return the context of computations in this model's number format."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _labels(self, classes: Classes, images: int) -> Tensor | None:
        if classes is None:
            return equal_labels(images, len(self.classes))
        if not self.classes:
            raise ModelError(f"classes: got {classes!r}, but this model has none")
        given = [classes] * images if isinstance(classes, str | int) else list(classes)
        if len(given) != images:
            raise ModelError(f"classes: expected one, or one for each of {images} images, got {len(given)}")
        return torch.tensor([self._label(name) for name in given])

    def _label(self, name: str | int) -> int:
        if name in self.classes:
            return self.classes.index(str(name))
        if isinstance(name, int) and 0 <= name < len(self.classes):
            return name
        raise ModelError(f"classes: no such class: {name!r}; available: {', '.join(self.classes)}")


def _beyond(begin: int, on_progress: Callable[[int], None], done: int) -> None:
    on_progress(begin + done)


def load_model(folder: str | Path, *, device: str = "auto", dtype: str = "float32") -> Model:
    """Load the model in `folder`, ready to generate images.

    device: "auto" uses the GPU if there is one; else a torch device name. dtype: "float32" or "bfloat16", the number
    format of computations ("bfloat16" is faster on a GPU and gives other pixels). Raises FileNotFoundError or
    ValueError that say what is wrong with the folder, and ModelError for another dtype.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype: expected {' or '.join(DTYPES)}, got {dtype!r}")
    path = Path(folder)
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    description = read_config(path)
    network = load_network(path, place)
    return Model(network, description, _selected(path, network), DTYPES[dtype])


def _selected(folder: Path, network: GenerativeModel) -> SamplingConfig:
    if not (folder / SELECTION_FILE).is_file():
        return network.preview_sampling
    try:
        return selected_sampling(folder)
    except ValueError as error:
        raise ModelError(str(error)) from None

"""Read images from any source for measuring: without changing a pixel, or in a form that is stated (resizing.py)."""

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from genai_core.data.dataset.dataset import Split, load_dataset
from genai_core.data.decoding.image import without_pillows_limit
from genai_core.data.ingest.choices import AskError, Choices
from genai_core.data.ingest.readers.items import Item, Reading
from genai_core.data.ingest.readers.recognise import read_source
from genai_core.data.ingest.readers.stylegan import LABELS_FILE, is_labels_file
from genai_core.data.raw.formats import FORMATS
from genai_core.evaluation.resizing import ImageForm, Pixels, stacked

MAX_MEGAPIXELS = 25
_BITS_PER_SAMPLE = 258  # a tag of TIFF


@dataclass(frozen=True)
class ImageBatch:
    """images (B, C, H, W), uint8 or float32 in 0..255, and the class name of each, or None."""

    images: Pixels
    labels: tuple[str | None, ...]


def image_batches(
    source: str,
    scratch: Path,
    batch_images: int,
    split: Split | None = None,
    form: ImageForm | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[ImageBatch]:
    """Yield the images of a prepared dataset, folder, archive, .npy, .npz, IDX, CIFAR batches or Parquet, in batches.

    scratch: folder to create for unpacking. split: read only this split of the source. form: which the images are
    brought into; None: they stay as they are, except that grey ones beside colour get three channels. on_note: receives
    what was left out, and how the source was understood, when all images have been read. Raises ValueError or an
    OSError, naming the file, when an image cannot be read, does not fit the form, or has another size than the first.
    """
    form = form or ImageForm()
    described = Path(source) / LABELS_FILE
    if described.is_file() and not is_labels_file(described):
        yield from _of_dataset(Path(source), batch_images, split, form)
        return
    reading = _read(source, scratch, split)
    first: tuple[str, tuple[int, ...]] | None = None
    pixels: list[Pixels] = []
    labels: list[str | None] = []
    for item in reading.items:
        if split is not None and item.split != split:
            continue
        image = form.apply(_pixels(item, form), item.path)
        first = first or (item.path, image.shape[1:])
        if image.shape[1:] != first[1]:
            sizes = [f"{path} is {size[0]} x {size[1]}" for path, size in (first, (item.path, image.shape[1:]))]
            raise ValueError(
                f"{source}: images of different sizes: {', '.join(sizes)} (height x width); pass --resize clean, and "
                "--size if you want another size than the extractor's; the rule changes every figure"
            )
        pixels.append(image)
        labels.append(item.label)
        if len(pixels) == batch_images:
            yield ImageBatch(stacked(pixels), tuple(labels))
            pixels, labels = [], []
    if pixels:
        yield ImageBatch(stacked(pixels), tuple(labels))
    if first is None:
        raise ValueError(f"{source}: contains no images" + (f" of the split {split}" if split else ""))
    if reading.rejected:
        first_rejected = reading.rejected[0]
        raise ValueError(
            f"{source}: {len(reading.rejected)} images or labels were rejected, "
            f"first {first_rejected.source}: {first_rejected.detail}"
        )
    if on_note is not None:
        for note in reading.notes:
            on_note(note)
        if reading.skipped:
            on_note("not measured: " + ", ".join(f"{kind} {count:,}" for kind, count in reading.skipped.items()))


def _read(source: str, scratch: Path, split: Split | None) -> Reading:
    try:
        return read_source(source, scratch, scratch / "source", Choices(split=None if split is None else True))
    except AskError:
        if split is not None:
            raise
        # Labels only serve the agreement: images whose class cannot be told are measured without.
        shutil.rmtree(scratch / "source", ignore_errors=True)
        return read_source(source, scratch, scratch / "source", Choices("flat", split=False))


def _of_dataset(folder: Path, batch_images: int, split: Split | None, form: ImageForm) -> Iterator[ImageBatch]:
    dataset = load_dataset(folder)
    rows, classes = dataset.rows(split or "train"), dataset.info.classes
    for begin in range(0, len(rows), batch_images):
        part = rows.iloc[begin : begin + batch_images]
        names = tuple(classes[label] if classes else None for label in part["label"])
        yield ImageBatch(form.apply_all(dataset.images_at(part), str(folder)), names)


def _pixels(item: Item, form: ImageForm) -> npt.NDArray[np.uint8]:
    """Return pixels (C, H, W), C 1 or 3. Transparent ones show the form's background; without one, they are refused."""
    if isinstance(item.content, np.ndarray):
        array = item.content if item.content.ndim == 3 else item.content[:, :, None]
        if array.shape[2] == 4:
            return _eight_bit_pixels(Image.fromarray(array), item.path, form)
        if array.shape[2] not in (1, 3):
            raise ValueError(f"{item.path}: expected grey or colour, got {array.shape[2]} channels")
        return np.ascontiguousarray(array.transpose(2, 0, 1))
    file = io.BytesIO(item.content) if isinstance(item.content, bytes) else item.content
    try:
        with without_pillows_limit(), Image.open(file, formats=list(FORMATS)) as image:
            return _eight_bit_pixels(image, item.path, form)
    except _UnsuitableError:
        raise
    except Exception as error:  # Pillow raises nearly anything on damaged bytes, and not all of it says which file
        raise ValueError(f"{item.path}: cannot be read as an image ({error})") from None


class _UnsuitableError(ValueError):
    """A readable image whose pixels would have to be changed."""


def _eight_bit_pixels(image: Image.Image, path: str, form: ImageForm) -> npt.NDArray[np.uint8]:
    if image.width * image.height > MAX_MEGAPIXELS * 1e6:
        raise _UnsuitableError(f"{path}: {image.width} x {image.height} pixels; at most {MAX_MEGAPIXELS} million")
    if image.mode.startswith(("I", "F")) or _has_lower_bits(image):
        raise _UnsuitableError(f"{path}: expected 8 bits per channel, got more (mode {image.mode}); convert it first")
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("1", "L"):
        return np.asarray(upright.convert("L"))[None]
    is_grey = upright.mode == "LA"
    if upright.has_transparency_data and np.asarray(upright.convert("RGBA"))[:, :, 3].min() < 255:
        if form.background is None:
            raise _UnsuitableError(
                f"{path}: has transparent pixels; pass --resize clean to show them on data.background of params.yaml"
            )
        form.has_transparent = True
        is_grey = is_grey and len(set(form.background)) == 1
        canvas = Image.new("RGBA", upright.size, (*form.background, 255))
        upright = Image.alpha_composite(canvas, upright.convert("RGBA"))
    if is_grey:
        return np.asarray(upright.convert("RGB"))[None, :, :, 0]
    return np.ascontiguousarray(np.asarray(upright.convert("RGB")).transpose(2, 0, 1))


def _has_lower_bits(image: Image.Image) -> bool:
    """Whether the file of an image of 8-bit mode has more bits per channel, which Pillow drops. Before it is loaded."""
    if image.format == "TIFF":
        return bool(max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))) > 8)
    # ("zip", box, offset, "RGB;16B") in a PNG, ("ppm", box, offset, ("RGB", 65535)) in a PPM.
    if image.format not in ("PNG", "PPM"):
        return False
    arguments = image.tile[0][-1]  # type: ignore[attr-defined]  # only ImageFile has it
    if image.format == "PNG":
        return ";16" in arguments
    return isinstance(arguments, tuple) and arguments[1] > 255

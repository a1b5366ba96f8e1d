"""DICOM files; needs the extra `dicom`. Only the pixels are used: names, dates and identifiers are never copied."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from genai_core.data.dataset.facts import Pixels
from genai_core.data.ingest.convert.dicom_grey import GREY, GreyScale
from genai_core.data.ingest.convert.frame import Frame, NotConvertedError, check_size
from genai_core.data.ingest.extras import import_extra

DICOM_EXTENSIONS = (".dcm", ".dicom", ".dic")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# What pydicom raises for damaged files.
_DAMAGED = (
    *(AttributeError, ValueError, TypeError, KeyError, IndexError, OSError, EOFError, NotImplementedError),
    *(StopIteration, MemoryError, OverflowError),
)


def dicom_frames(path: Path, every: int | None, warn: Callable[[str], None]) -> Iterator[Frame]:
    """Yield the frames of a file, or each `every`-th one. Raises NotConvertedError for a file without readable pixels.

    warn: called with what the user should know about files like this one.
    """
    pydicom = import_extra("pydicom", "dicom", "DICOM files")
    import_extra("pydicom.pixels", "dicom", "DICOM files")
    try:
        dataset = pydicom.dcmread(path)
        if not any(name in dataset for name in _PIXELS):
            raise NotConvertedError("no_image", f"a DICOM file without pixels ({_kind(dataset)})")
        if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
            warn("DICOM marked as having text in the picture, which may be personal data (BurnedInAnnotation)")
        yield from _frames(pydicom, dataset, every or 1)
    except NotConvertedError:
        raise
    except RuntimeError as error:  # no decoder for this compression, or damaged
        raise NotConvertedError("corrupt", f"DICOM pixels that cannot be decoded ({_one_line(error)})") from None
    except (pydicom.errors.InvalidDicomError, *_DAMAGED) as error:
        raise NotConvertedError("corrupt", f"not a readable DICOM file ({_one_line(error)})") from None


def _frames(pydicom: Any, dataset: Any, every: int) -> Iterator[Frame]:
    check_size(int(dataset.Columns), int(dataset.Rows))
    count = int(dataset.get("NumberOfFrames") or 1)
    scale = GreyScale(pydicom, dataset, count) if dataset.PhotometricInterpretation in GREY else None
    for number in range(0, count, every):
        [values] = pydicom.pixels.iter_pixels(dataset, indices=[number])
        pixels = scale.shown(values, number) if scale else _colour(pydicom, dataset, values)
        yield Frame(number if count > 1 else None, pixels)


def _colour(pydicom: Any, dataset: Any, values: Any) -> Pixels:
    """Return RGB of 8 bits; pydicom has already converted YBR."""
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = pydicom.pixels.apply_color_lut(values, dataset)
        bits = 8 * values.dtype.itemsize
    if values.ndim != 3 or values.shape[2] not in (3, 4):
        raise NotConvertedError("unsupported_pixels", f"{dataset.PhotometricInterpretation} of shape {values.shape}")
    pixels: Pixels = (values >> (bits - 8) if bits > 8 else values).astype(np.uint8)
    return pixels


def _kind(dataset: Any) -> str:
    """Return what a file without pixels holds: Encapsulated PDF Storage, RT Structure Set Storage ..."""
    kind = dataset.get("SOPClassUID")
    return str(getattr(kind, "name", kind) or "of an unnamed kind")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

"""Kinds of files that are converted while they are added, and kinds that are refused, with what to do about them."""

import os

from genai_core.counted import counted
from genai_core.data.ingest.convert.dicom import DICOM_EXTENSIONS
from genai_core.data.ingest.convert.heif import HEIF_EXTENSIONS
from genai_core.data.ingest.convert.video import VIDEO_EXTENSIONS
from genai_core.data.raw.formats import IMAGE_EXTENSIONS

CONVERTED_EXTENSIONS = frozenset((*HEIF_EXTENSIONS, *DICOM_EXTENSIONS, *VIDEO_EXTENSIONS))
SOURCE_EXTENSIONS = IMAGE_EXTENSIONS | CONVERTED_EXTENSIONS

_EXPORT = "export them as PNG"
_DEVELOP = "raw photographs; develop them, or use the camera's JPEG files"
_UNNAMED = "without an extension their kind is not known; give DICOM files the extension .dcm"
_UNPACK = "an archive in the source; unpack it there"
_COPY = "links out of the source and to folders are not followed; copy what they lead to: `cp -rL SOURCE COPY`"
_RENDER = "drawings without a size in pixels; render them, such as `rsvg-convert -w 512 -o FILE.png FILE.svg`"
_STRETCH = "FITS has no black and white of its own; choose a stretch (astropy.visualization), save PNG"
_REFUSED = {
    **dict.fromkeys((".psd", ".psb"), f"Photoshop; {_EXPORT} (File > Export), or `magick FILE[0] FILE.png`"),
    ".xcf": f"GIMP; {_EXPORT}",
    "unnamed": _UNNAMED,
    "links": _COPY,
    **dict.fromkeys((".svg", ".svgz"), _RENDER),
    **dict.fromkeys((".ai", ".eps", ".pdf"), f"documents; {_EXPORT}, such as `pdftoppm -png`"),
    **dict.fromkeys((".fits", ".fit", ".fts"), _STRETCH),
    **dict.fromkeys((".exr", ".hdr"), "high dynamic range has no defined white; tone-map it and save it as PNG"),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), _DEVELOP),
    **dict.fromkeys((".jxl", ".jp2", ".j2k", ".tga", ".ico", ".dds", ".pcx"), "convert them to PNG"),
    **dict.fromkeys((".nii", ".mha", ".mhd", ".nrrd"), "volumes; save the slices that you want as PNG"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".gz", ".rar", ".7z"), _UNPACK),
}


def is_source_image(path: str) -> bool:
    """Whether a file of a source is an image, or becomes one or several while it is added."""
    return os.path.splitext(path)[1].lower() in SOURCE_EXTENSIONS  # noqa: PTH122 - a tenth of Path.suffix's time


def advice(kinds: dict[str, int]) -> list[str]:
    """Return what to do about skipped files; kinds: their number by kind, ".psd files"."""
    return [
        f"{counted(count, kind[:-1])} skipped: {_REFUSED[extension]}"
        for kind, count in sorted(kinds.items())
        if (extension := kind.removesuffix(" files")) in _REFUSED
    ]

"""Versions of the image libraries: another version may decode the same file to other pixels.

A dataset records in decoders.json which versions made it. Cached results of other versions are not used
(cache/file_records.py). All images of a dataset are therefore decoded alike: it is a function of the raw files and
these versions. NumPy is not among them, because pixel arithmetic uses integers. The record is not in dataset.json, on
which all training depends: most versions decode to the same pixels, and then nothing must be trained again.
"""

import json
from functools import cache
from pathlib import Path

from PIL import features

DECODERS_FILE = "decoders.json"
# Names in PIL.features. A Pillow packaged by a distribution has its own version of each. mozjpeg and libjpeg-turbo are
# variants of libjpeg; `jpg` is only the version of its interface.
_LIBRARIES = ("jpg", "libjpeg_turbo", "mozjpeg", "zlib", "zlib_ng", "libtiff", "webp", "avif", "littlecms2")


@cache
def decoder_versions() -> dict[str, str]:
    """Return the versions of Pillow and its decoding libraries in this process, by name."""
    versions = {"pillow": features.version("pil"), **{name: features.version(name) for name in _LIBRARIES}}
    return {name: version for name, version in versions.items() if version is not None}


def write_decoders(folder: Path) -> None:
    """Record this process's decoder versions in the dataset `folder`."""
    (folder / DECODERS_FILE).write_text(json.dumps(decoder_versions(), indent=2) + "\n")


def other_decoders(folder: Path) -> list[str]:
    """Return how the decoders of the dataset `folder` differ from those here: "pillow 12.3.0, here 13.0.0", ...

    Raises FileNotFoundError when there is no record, and ValueError when it is damaged.
    """
    path, here = folder / DECODERS_FILE, decoder_versions()
    try:
        then = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged, expected versions by name: {error}") from None
    return [
        f"{name} {then.get(name, 'none')}, here {here.get(name, 'none')}"
        for name in [*here, *(name for name in then if name not in here)]
        if then.get(name) != here.get(name)
    ]

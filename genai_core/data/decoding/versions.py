"""Which libraries turn files into pixels: other versions of them may make other pixels of the same file.

A dataset says in decoders.json which ones made it. What was found out with others is not known any more
(cache/known_files.py), so that all images of a dataset are decoded alike: it is a function of the raw files and these
versions. NumPy is none of them: what is calculated of pixels goes in whole numbers. Not in dataset.json, from which
everything is trained: most versions make the same pixels, and then nothing is to be trained again.
"""

import json
from functools import cache
from pathlib import Path

from PIL import features

DECODERS_FILE = "decoders.json"
# By their names in PIL.features. A Pillow of a distribution has its own version of each; mozjpeg and libjpeg-turbo are
# kinds of libjpeg, whose `jpg` is only the version of the interface.
_LIBRARIES = ("jpg", "libjpeg_turbo", "mozjpeg", "zlib", "zlib_ng", "libtiff", "webp", "avif", "littlecms2")


@cache
def decoder_versions() -> dict[str, str]:
    """The version of Pillow and of each library that it decodes with here, by name."""
    versions = {"pillow": features.version("pil"), **{name: features.version(name) for name in _LIBRARIES}}
    return {name: version for name, version in versions.items() if version is not None}


def write_decoders(folder: Path) -> None:
    """Note in the dataset `folder` what decoded it: this process's libraries."""
    (folder / DECODERS_FILE).write_text(json.dumps(decoder_versions(), indent=2) + "\n")


def other_decoders(folder: Path) -> list[str]:
    """How the decoders of the dataset `folder` differ from the ones here: "pillow 12.3.0, here 13.0.0", ...

    Raises FileNotFoundError when it does not say, and ValueError when that is damaged.
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

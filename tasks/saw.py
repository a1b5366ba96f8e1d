"""Look up an image in versions of the dataset: `python -m tasks.saw IMAGE FOLDER ...`. Used by `genai lineage --saw`.

Each FOLDER holds a dataset's small files (genai_core/data/dataset/lookup.py) and rule.json, the `data` section it was
made with. Prints one JSON object per folder: `found`, the matches, and a `note` if the image may be there undetected.
Not a stage of dvc.yaml.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.data.dataset.lookup import look_up
from genai_core.data.decoding.image import DecodeRule, Rejection, decode_file, without_pillows_limit
from genai_core.data.decoding.versions import other_decoders
from genai_core.image_size import ImageSize


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.saw", description=__doc__)
    parser.add_argument("image", help="a file, or a name below data/raw")
    parser.add_argument("folders", nargs="+", type=Path)
    arguments = parser.parse_args()
    source = Path(arguments.image).as_posix().rpartition("data/raw/")[2]
    for folder in arguments.folders:
        try:
            digest = _digest(arguments.image, folder) if Path(arguments.image).is_file() else None
        except ValueError as error:
            print(f"saw: {error}", file=sys.stderr)
            sys.exit(NEEDS_MANUAL_ACTION)
        found = [dataclasses.asdict(sighting) for sighting in look_up(folder, source, digest)]
        note = "" if found or digest is None else _other_pixels(folder)
        print(json.dumps({"found": found, "note": note}), flush=True)


def _other_pixels(folder: Path) -> str:
    """Return why that dataset may contain the image with other pixels; "" if it cannot."""
    try:
        others = other_decoders(folder)
    except (FileNotFoundError, ValueError):
        others = ["unknown libraries"]
    if not others:
        return ""
    return f"decoded by {'; '.join(others)}: it may contain the image with other pixels; also look it up by name"


def _digest(image: str, folder: Path) -> bytes:
    """Return the sha256 of the file's pixels as that dataset would decode them."""
    values = json.loads((folder / "rule.json").read_text())
    fields = {name: values[name] for name in DecodeRule._fields}
    size, background = ImageSize.from_json(fields["image_size"]), tuple(fields["background"])
    rule = DecodeRule(**{**fields, "image_size": size, "background": background})
    with without_pillows_limit():
        decoded = decode_file(image, rule)
    if isinstance(decoded, Rejection):
        raise ValueError(f"{image}: cannot be read as an image: {decoded.reason}, {decoded.detail}")
    return decoded.sha256


if __name__ == "__main__":
    main()

"""The only writer of small JSON files: complete or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replace `path` by a rename, so that a kill leaves the old file or the new one. Creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(json.dumps(values, indent=2) + "\n")
    os.replace(new, path)

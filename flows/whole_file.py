"""The only writer of small files: complete or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_file(path: Path, content: str | bytes) -> None:
    """Replace `path` by a rename, so that a kill leaves the old file or the new one. Creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(new, path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """`write_file` for JSON."""
    write_file(path, json.dumps(values, indent=2) + "\n")

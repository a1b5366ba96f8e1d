import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_core.data.ingest.add import add_source
from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.readers.items import Item, Reading
from genai_core.data.ingest.readers.recognise import read_source
from tests.packed import files_in


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "workspace" / "data" / "raw"


@pytest.fixture
def add(raw):
    """add_source into the test's data/raw."""
    return lambda source, name="set", **options: add_source(str(source), raw, name, **options)


@pytest.fixture
def read(tmp_path, raw):
    """Read a source without adding it: its reading, and the images that become of it by their paths."""

    def make(source: Path, every: int | None = None) -> tuple[Reading, dict[str, Item]]:
        unpacked = tmp_path / f"unpacked-{len(list(tmp_path.glob('unpacked-*')))}"
        reading = read_source(str(source), raw, unpacked, Choices(every=every))
        return reading, {item.path: item for item in reading.items}

    return make


@pytest.fixture
def pixels():
    """Different noise images: pixels(3) -> (3, 6, 5) uint8; pixels(3, 3) -> (3, 6, 5, 3)."""

    def make(count: int, *channels: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (count, 6, 5, *channels), dtype=np.uint8)

    return make


@pytest.fixture
def root(tmp_path):
    return tmp_path / "set"


@pytest.fixture
def images(root, save_images):
    """Images in a folder: images("a/b", 3) -> their names; different in each folder."""
    made = []

    def make(folder: str, count: int) -> list[str]:
        made.append(folder)
        return save_images(root / folder, count, seed=len(made))

    return make


@pytest.fixture
def images_in():
    """Images below data/raw/NAME: path -> pixels."""

    def read(folder: Path) -> dict[str, np.ndarray]:
        found = {}
        for name, content in files_in(folder).items():
            with Image.open(io.BytesIO(content)) as image:
                found[name] = np.asarray(image)
        return found

    return read


def nothing_was_added(raw: Path) -> bool:
    return not raw.exists() and (not raw.parent.exists() or not any(raw.parent.iterdir()))

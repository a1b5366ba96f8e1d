from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_core.config import AugmentConfig, DataConfig, load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data_config() -> Callable[..., DataConfig]:
    """params.yaml's data section, with changes."""
    values = load_config(ROOT / "params.yaml").data.model_dump()
    return lambda **changes: DataConfig(**{**values, **changes})


@pytest.fixture
def augment_config() -> Callable[..., AugmentConfig]:
    """params.yaml's augment section, with changes."""
    return lambda **changes: load_config(ROOT / "params.yaml").augment.model_copy(update=changes)


@pytest.fixture
def save_images() -> Callable[..., list[str]]:
    """Write different noise images: save_images(folder, 3, seed=1) -> their names."""

    def save(folder: Path, count: int, seed: int = 0, size: int = 12) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(seed)
        names = [f"{seed:02d}-{number:03d}.png" for number in range(count)]
        for name in names:
            Image.fromarray(random.integers(0, 256, (size, size), dtype=np.uint8)).save(folder / name)
        return names

    return save

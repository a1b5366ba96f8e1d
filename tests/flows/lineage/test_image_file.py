"""An image that `genai lineage` is asked about, on disk or in an archive."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from flows.lineage.image_file import LineageError, find_image_file

CONTENT = np.random.default_rng(0).bytes(50_000)


@pytest.fixture(params=["gz", "bz2", "xz"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"images.tar.{request.param}"
    entry = tarfile.TarInfo("0.png")
    entry.size = len(CONTENT)
    with tarfile.open(path, f"w:{request.param}") as opened:
        opened.addfile(entry, io.BytesIO(CONTENT))
    return path


def test_an_image_in_an_archive_is_known_by_its_hash(archive: Path) -> None:
    found = find_image_file(f"{archive}:0.png")
    assert found is not None
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_a_truncated_archive_is_named(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:25_000])
    with pytest.raises(LineageError, match=r"images\.tar\..*:0\.png: "):
        find_image_file(f"{archive}:0.png")

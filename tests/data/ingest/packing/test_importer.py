import io
import os
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from genai_core.data.ingest.packing.importer import Importer
from genai_core.data.raw.source_json import Origin


@pytest.fixture
def place(tmp_path):
    """Import one image; return the importer."""

    def run(path, content, split=None, origin=None):
        importer = Importer(tmp_path / "raw", tmp_path / "new")
        importer.add(path, content)
        importer.write_note(path.split("/", 1)[0], split, origin)
        importer.commit()
        importer.close()
        return importer

    return run


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_the_same_pixels_encoded_by_another_program_are_the_same_image(channels, tmp_path, place):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, *channels), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if channels == (1,) else pixels).save(file, "PNG", compress_level=9)
    place("set/1.png", file.getvalue())
    assert place("set/1.png", pixels).kept_images == 1
    with pytest.raises(ValueError, match="exists with other content"):
        place("set/1.png", 255 - pixels)
    with pytest.raises(ValueError, match="exists with other content"):
        place("set/1.png", np.zeros((6, 5), dtype=np.uint8))


def test_two_images_with_one_path(tmp_path):
    (tmp_path / "1.png").write_bytes(b"x")
    for content in (b"x", tmp_path / "1.png"):
        with closing(Importer(tmp_path / "raw", tmp_path / f"new-{type(content).__name__}")) as importer:
            importer.add("set/1.png", b"x")
            with pytest.raises(ValueError, match=r"two images of the source would become set/1\.png"):
                importer.add("set/1.png", content)


def test_the_note_is_unchanged_if_the_import_fails(tmp_path, place, monkeypatch):
    place("set.test/1.png", b"1", "test")
    before = (tmp_path / "raw/set.test/source.json").read_bytes()
    importer = Importer(tmp_path / "raw", tmp_path / "new")
    importer.add("set.test/hat/2.png", b"2")
    importer.write_note("set.test", "test", Origin("https://example.org/a.zip", None))
    monkeypatch.setattr(os, "rename", lambda *_: None)  # so that the pack gets another name
    with pytest.raises(FileNotFoundError):
        importer.commit()
    assert (tmp_path / "raw/set.test/source.json").read_bytes() == before

"""A sample with every usual kind of broken file: it says which they are, and decodes the others."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from genai_core.data.looking.sample import choose_rows, decode_sample
from genai_core.data.raw.images import find_raw_images


def broken_files(folder: Path) -> None:
    Image.effect_noise((64, 48), 50).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_bytes(b"<!DOCTYPE html><title>404 Not Found</title>")
    header = b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    rows = b"IDAT" + zlib.compress(bytes(8 * 9))
    chunks = [(header, zlib.crc32(header) ^ 1), (rows, zlib.crc32(rows)), (b"IEND", zlib.crc32(b"IEND"))]
    parts = [struct.pack(">I", len(data) - 4) + data + struct.pack(">I", crc) for data, crc in chunks]
    (folder / "crc.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_names_and_reasons_of_what_cannot_be_decoded(tmp_path: Path) -> None:
    (tmp_path / "set" / "hat").mkdir(parents=True)
    broken_files(tmp_path / "set" / "hat")
    found = find_raw_images(tmp_path)
    sample = decode_sample(found, choose_rows(len(found)), workers=1, max_seconds=20.0)
    assert sample.files == 5
    assert {found.names[row]: reason for row, reason in sample.rejected} == {
        "set/hat/crc.png": "corrupt",
        "set/hat/cut.jpg": "corrupt",
        "set/hat/empty.jpg": "empty_file",
        "set/hat/page.jpg": "not_an_image",
    }
    assert [found.names[row] for row in sample.rows.tolist()] == ["set/hat/whole.jpg"]
    assert sample.pixels.shape == (1, 3, 32, 32)
    assert np.array_equal(sample.sizes, [[64, 48]])

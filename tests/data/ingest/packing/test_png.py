import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from genai_core.data.ingest.packing.png import encode_png


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([(), (1,), (3,), (4,)]), st.integers(0, 2**31))
def test_pillow_reads_the_same_pixels(height, width, channels, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels)), formats=["PNG"]) as image:
        image.load()
        assert image.mode == {(): "L", (1,): "L", (3,): "RGB", (4,): "RGBA"}[channels]
        assert (np.asarray(image).reshape(pixels.shape) == pixels).all()


def test_non_contiguous_pixels():
    pixels = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5).transpose(1, 2, 0)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert (np.asarray(image) == pixels).all()

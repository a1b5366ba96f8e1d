"""`python -m tasks.saw`: an image is looked up as the dataset decoded it."""

import json

import pytest
from PIL import Image

from genai_core.data.decoding.image import decode_file
from tasks import saw
from tests.data.image_files import noise, rule, saved


@pytest.mark.parametrize("size", [8, [8, 8], [8, 12]])
def test_an_image_is_decoded_to_the_size_of_the_dataset(size, tmp_path):
    path = saved(Image.fromarray(noise(20, 40)), tmp_path / "x.png")
    (tmp_path / "rule.json").write_text(json.dumps({**rule()._asdict(), "image_size": size}))
    assert saw._digest(str(path), tmp_path) == decode_file(path, rule(image_size=size)).sha256


def test_the_datasets_own_limit_decides_how_large_an_image_may_be(tmp_path, monkeypatch):
    path = saved(Image.fromarray(noise(64, 64)), tmp_path / "x.png")
    (tmp_path / "rule.json").write_text(json.dumps(rule()._asdict()))
    expected = decode_file(path, rule())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses more than twice as many
    assert saw._digest(str(path), tmp_path) == expected.sha256
    assert Image.MAX_IMAGE_PIXELS == 1000

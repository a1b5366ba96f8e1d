"""`python -m tasks.saw`: an image is looked up as the dataset decoded it."""

import json

from PIL import Image

from genai_core.data.decoding.image import decode_file
from tasks import saw
from tests.data.image_files import noise, rule, saved


def test_the_datasets_own_limit_decides_how_large_an_image_may_be(tmp_path, monkeypatch):
    path = saved(Image.fromarray(noise(64, 64)), tmp_path / "x.png")
    (tmp_path / "rule.json").write_text(json.dumps(rule()._asdict()))
    expected = decode_file(path, rule())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses more than twice as many
    assert saw._digest(str(path), tmp_path) == expected.sha256
    assert Image.MAX_IMAGE_PIXELS == 1000

import json

import PIL
import pytest
from PIL import features

from genai_core.data.decoding.versions import DECODERS_FILE, decoder_versions, other_decoders, write_decoders


def test_every_library_that_decodes_has_its_version():
    versions = decoder_versions()
    assert versions["pillow"] == PIL.__version__
    for name in ("jpg", "zlib", "libtiff", "webp", "avif", "littlecms2"):
        assert features.check(name) == (name in versions)
    assert all(versions.values())


def test_difference_names_both_versions(tmp_path):
    write_decoders(tmp_path)
    assert other_decoders(tmp_path) == []
    here = decoder_versions()
    (tmp_path / DECODERS_FILE).write_text(json.dumps({**here, "pillow": "1.2.3", "mozjpeg": "4.0"}))
    assert other_decoders(tmp_path) == [f"pillow 1.2.3, here {PIL.__version__}", "mozjpeg 4.0, here none"]
    (tmp_path / DECODERS_FILE).write_text(json.dumps({name: here[name] for name in here if name != "webp"}))
    assert other_decoders(tmp_path) == [f"webp none, here {here['webp']}"]


def test_no_record_and_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        other_decoders(tmp_path)
    for content in ("[1]", "{", "3"):
        (tmp_path / DECODERS_FILE).write_text(content)
        with pytest.raises(ValueError, match=r"decoders\.json is damaged, expected versions"):
            other_decoders(tmp_path)

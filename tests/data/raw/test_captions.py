"""Captions beside raw images: their form, and which text belongs to which image."""

import io
import tarfile

import pytest

from genai_core.data.raw.captions import (
    MAX_CAPTION_CHARACTERS,
    MAX_TEXT_BYTES,
    caption_name,
    clean_captions,
    match_texts,
    parse_captions,
)
from genai_core.data.raw.images import ORPHANS, find_raw_images
from genai_core.data.raw.name_column import Names
from genai_core.data.raw.pack_indexes import indexed_pack


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_pack(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as pack:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            pack.addfile(info, io.BytesIO(content))
    return path


def captions_in(raw, indexes=None):
    found = find_raw_images(raw, indexes)
    texts = [None] * len(found) if found.captions is None else found.captions.to_pylist()
    return dict(zip(found.names, texts, strict=True)), found


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a hat\n", "a hat"),
        (b"\xef\xbb\xbfa hat\r\na  red\t hat\n\n a hat ", "a hat\na red hat"),
        ("ein schöner Hut\u2028für\x00 den Kopf 👒".encode(), "ein schöner Hut für den Kopf 👒"),
        (b"0 0.51 0.43 0.2 0.118\n1 .5 .5 .1 .1\n7", ""),
        (b"route 66\n66", "route 66"),
        (b"", ""),
        (b" \n\t\n", ""),
    ],
)
def test_one_caption_per_line_without_control_characters(content, text):
    assert parse_captions(content) == (text, None)


def test_what_is_left_out_is_said():
    assert parse_captions(b"caf\xe9") == ("", "not UTF-8")
    assert parse_captions(b"x" * (MAX_TEXT_BYTES + 1)).fault == "more than 65,536 bytes"
    long = "x" * (MAX_CAPTION_CHARACTERS + 1)
    assert clean_captions(["a hat", long, "red"]) == ("a hat\nred", "a caption of 4,097 characters; at most 4,096")
    assert clean_captions(["a\nhat", "\ud800"]) == ("a hat", "a caption is not valid Unicode")
    many = clean_captions([f"{number:05d}" + "x" * 995 for number in range(80)])
    assert len(many.text.encode()) <= MAX_TEXT_BYTES
    assert many.fault == "more than 65,536 bytes of captions"
    assert parse_captions(many.text.encode()) == (many.text, None)


def test_the_last_text_of_a_stem_counts():
    images = Names.of(["n/a.png", "n/b.c.jpg", "n/d.png", "n/e/a.png"])
    texts = Names.of(["n/a.txt", "n/b.c.TXT", "n/a.txt", "n/b.txt"])
    assert match_texts(images, texts).tolist() == [2, 1, -1, -1]
    assert caption_name("n/b.c.jpg") == "n/b.c.txt"


def test_loose_texts(tmp_path):
    write(tmp_path, n__cat__1_png=b"x", n__cat__1_txt=b"a cat\nsits\n", n__cat__2_png=b"x", n__2_txt=b"of nothing")
    write(tmp_path, n__cat__3_png=b"x", n__cat__3_txt=b"", n__cat__4_png=b"x", n__cat__4_txt=b"\xff")
    texts, found = captions_in(tmp_path)
    assert texts == {"n/cat/1.png": "a cat\nsits", "n/cat/2.png": None, "n/cat/3.png": None, "n/cat/4.png": None}
    assert found.skipped == {ORPHANS: 1}
    assert [tuple(file) for file in found.rejected] == [("n/cat/4.txt", "bad_caption", "not UTF-8")]


def test_texts_in_packs_with_and_without_index(tmp_path):
    raw = tmp_path / "raw"
    members = {
        "cat/1.png": b"x",
        "cat/1.txt": b"a cat",
        "cat/2.png": b"y",
        "cat/2.txt": b"\xff",
        "readme.txt": b"x",
    }
    path = write_pack(raw / "n" / "0.tar", members)
    write_pack(raw / "m" / "0.tar", {"1.png": b"z", "1.txt": "Hüte\nzwei".encode()})
    expected = {"m/1.png": "Hüte\nzwei", "n/cat/1.png": "a cat", "n/cat/2.png": None}
    for _ in range(2):
        texts, found = captions_in(raw, tmp_path / "indexes")
        assert texts == expected
        assert found.skipped == {ORPHANS: 1}
        assert [tuple(file) for file in found.rejected] == [("n/cat/2.txt", "bad_caption", "not UTF-8")]
    assert captions_in(raw)[0] == expected
    pack, _ = indexed_pack(path, tmp_path / "indexes")
    assert pack.texts.faults == {1: "not UTF-8"}


def test_a_later_pack_and_a_loose_file_replace_captions(tmp_path):
    write_pack(tmp_path / "n" / "0.tar", {"a.png": b"x", "a.txt": b"old", "b.png": b"y", "b.txt": b"old"})
    write_pack(tmp_path / "n" / "1.tar", {"a.txt": b"new", "b.txt": b""})
    assert captions_in(tmp_path)[0] == {"n/a.png": "new", "n/b.png": None}
    write(tmp_path, n__b_txt=b"by hand")
    assert captions_in(tmp_path)[0] == {"n/a.png": "new", "n/b.png": "by hand"}


def test_texts_of_a_damaged_pack_are_not_used(tmp_path):
    path = write_pack(tmp_path / "n" / "0.tar", {"a.png": b"x" * 600, "a.txt": b"old"})
    path.write_bytes(path.read_bytes()[:2048])
    write(tmp_path, n__b_png=b"x")
    texts, found = captions_in(tmp_path)
    assert texts == {"n/b.png": None}
    assert found.captions is None


def test_without_texts_nothing_is_matched(tmp_path, monkeypatch):
    write_pack(tmp_path / "n" / "0.tar", {"a.png": b"x", "a.json": b"{}"})
    monkeypatch.setattr("genai_core.data.raw.caption_files.match_texts", None)
    texts, found = captions_in(tmp_path)
    assert texts == {"n/a.png": None}
    assert (found.captions, found.skipped) == (None, {".json files": 1})

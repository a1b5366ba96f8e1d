"""Images to measure: read without changing a pixel, by a stated rule, or refused by name."""

import struct
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from genai_core.evaluation.image_source import image_batches
from genai_core.evaluation.resizing import ImageForm, ResizeRule
from genai_core.image_size import ImageSize
from tests.data.image_files import encoded, noise, png, png_with_header, tiff

PIXELS = noise(16, 16)
VALUE = 0x80FF  # in 16 bits; the upper byte alone is another value


def read(folder, content, name="x.png"):
    (folder / "images").mkdir()
    (folder / "images" / name).write_bytes(content)
    (batch,) = image_batches(str(folder / "images"), folder / "scratch", 8)
    return batch.images[0].transpose(1, 2, 0)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "PPM", "WEBP"])
def test_pixels_are_those_of_the_file(form, tmp_path):
    options = {"lossless": True} if form == "WEBP" else {}
    assert (read(tmp_path, encoded(Image.fromarray(PIXELS), form, **options)) == PIXELS).all()


def sixteen_bit_png(colour_type, channels):
    return png(8, 8, 16, colour_type, (b"\0" + struct.pack(">H", VALUE) * 8 * channels) * 8)


@pytest.mark.parametrize(
    "content",
    [
        *(sixteen_bit_png(colour_type, channels) for colour_type, channels in ((0, 1), (2, 3), (4, 2), (6, 4))),
        *(tiff(struct.pack("<H", VALUE) * 64, 16, photometric) for photometric in (0, 1)),
        tiff(struct.pack("<H", VALUE) * 64 * 3, 16, 2, channels=3),
        b"P6 8 8 65535\n" + struct.pack(">H", VALUE) * 64 * 3,
        b"P6 8 8 1023\n" + b"\x01\xff" * 64 * 3,
        b"P3 8 8 65535\n" + b"33023 " * 64 * 3,
    ],
    ids=[
        *("grey PNG", "PNG", "grey PNG with alpha", "PNG with alpha", "inverted TIFF", "grey TIFF", "TIFF", "PPM"),
        *("PPM of 10 bits", "plain PPM"),
    ],
)
def test_sixteen_bits_are_refused_because_the_lower_ones_would_be_lost(content, tmp_path):
    with pytest.raises(ValueError, match=r"x\.png: expected 8 bits per channel, got more"):
        read(tmp_path, content)


def test_a_header_of_many_pixels_is_refused_before_pillow_counts_them(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"x\.png: 20000 x 20000 pixels; at most 25 million"):
            read(tmp_path, png_with_header(20_000, 20_000))
    assert Image.MAX_IMAGE_PIXELS is not None


@pytest.mark.parametrize("content", [b"P3 8 8 255\n1 2 x 4", b"P6 8 x 255\n", b"P6 8 8 255\n12", b"not an image"])
def test_damaged_images_are_named(content, tmp_path):
    with pytest.raises(ValueError, match=r"x\.png: cannot be read as an image"):
        read(tmp_path, content)


@contextmanager
def suppress_named(name):
    try:
        yield
    except ValueError as error:
        if name not in str(error):
            raise


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_flipped_bytes_never_raise_anything_but_an_error_that_names_the_file(form, tmp_path):
    good, random = encoded(Image.fromarray(PIXELS), form), np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for _ in range(60):
        content = bytearray(good)
        for place in random.integers(0, min(len(good), 200), size=2):
            content[place] = random.integers(0, 256)
        (tmp_path / "images" / "x.png").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress_named("x.png: "):
                list(image_batches(str(tmp_path / "images"), tmp_path / "scratch", 8))


def test_what_is_not_measured_is_said(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "1.png").write_bytes(encoded(Image.fromarray(PIXELS), "PNG"))
    (folder / "2.psd").write_bytes(b"8BPS")
    notes = []
    assert len(list(image_batches(str(folder), tmp_path / "scratch", 8, on_note=notes.append))) == 1
    assert notes[-1] == "not measured: .psd files 1"


def test_images_whose_class_cannot_be_told_are_measured_without(tmp_path):
    for number in range(8):
        (tmp_path / "images" / str(number)).mkdir(parents=True)
        (tmp_path / "images" / str(number) / "1.png").write_bytes(encoded(Image.fromarray(PIXELS), "PNG"))
    (batch,) = image_batches(str(tmp_path / "images"), tmp_path / "scratch", 8)
    assert batch.labels == (None,) * 8


def test_stylegans_dataset_json_is_none_of_a_prepared_dataset(tmp_path):
    folder = tmp_path / "generated"
    (folder / "00000").mkdir(parents=True)
    Image.fromarray(noise(8, 8)).save(folder / "00000" / "img00000000.png")
    (folder / "dataset.json").write_text('{"labels": [["00000/img00000000.png", 3]]}')
    [batch] = image_batches(str(folder), tmp_path / "scratch", 4)
    assert (batch.images[0] == noise(8, 8).transpose(2, 0, 1)).all()
    assert batch.labels == ("3",)


def form_of(folder, picture, form):
    (folder / "images").mkdir()
    picture.save(folder / "images" / "x.png")
    (batch,) = image_batches(str(folder / "images"), folder / "scratch", 8, form=form)
    return batch.images[0]


def test_transparent_pixels_show_the_background_of_a_form(tmp_path):
    picture = Image.new("RGBA", (4, 6), (200, 100, 0, 255))
    picture.putpixel((1, 2), (200, 100, 0, 0))
    picture.putpixel((0, 0), (200, 100, 0, 51))
    (tmp_path / "without").mkdir()
    with pytest.raises(ValueError, match=r"x\.png: has transparent pixels; pass --resize clean"):
        form_of(tmp_path / "without", picture, None)
    form = ImageForm(background=(0, 0, 250))
    pixels = form_of(tmp_path, picture, form)
    assert (pixels[:, 2, 1].tolist(), pixels[:, 0, 0].tolist()) == ([0, 0, 250], [40, 20, 200])
    assert pixels[:, 5, 3].tolist() == [200, 100, 0]
    assert form.has_transparent


@pytest.mark.parametrize(("alpha", "background", "channels"), [(255, None, 1), (99, (7, 7, 7), 1), (99, (7, 7, 9), 3)])
def test_grey_with_alpha_stays_grey_on_a_grey_background(alpha, background, channels, tmp_path):
    picture = Image.merge("LA", (Image.new("L", (4, 6), 80), Image.new("L", (4, 6), alpha)))
    assert len(form_of(tmp_path, picture, ImageForm(background=background))) == channels


def test_mixed_modes_become_colour_and_mixed_sizes_need_a_rule(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "images" / "a.png")
    Image.fromarray(PIXELS[:, :, 0]).save(tmp_path / "images" / "b.png")
    (batch,) = image_batches(str(tmp_path / "images"), tmp_path / "scratch", 8)
    assert (batch.images[1] == PIXELS[:, :, 0]).all()
    assert batch.images.shape == (2, 3, 16, 16)
    Image.new("1", (9, 7)).save(tmp_path / "images" / "c.png")
    with pytest.raises(ValueError, match=r"different sizes: a\.png is 16 x 16, c\.png is 7 x 9 .*pass --resize clean"):
        list(image_batches(str(tmp_path / "images"), tmp_path / "scratch", 8))
    form = ImageForm(ResizeRule("clean", ImageSize(8, 10), is_rounded=True))
    (batch,) = image_batches(str(tmp_path / "images"), tmp_path / "scratch", 8, form=form)
    assert (batch.images.shape, batch.images.dtype) == ((3, 3, 8, 10), np.uint8)

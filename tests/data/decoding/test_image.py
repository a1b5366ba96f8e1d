"""Decoding of every format and pixel type to square uint8 images."""

import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from genai_core.data.decoding.image import Decoded, decode_file
from tests.data.image_files import JPEG, cmyk_profile, colours, noise, pixels, png, png_chunk, rule, saved, tiff

FORMS = {
    "PNG": "png",
    "JPEG": "jpg",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "PPM": "ppm",
    "AVIF": "avif",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_on_the_list_is_decoded(form, tmp_path):
    path = saved(Image.new("RGB", (16, 16), (200, 100, 50)), tmp_path / f"1.{FORMS[form]}", format=form)
    result = decode_file(path, rule())
    # Some formats are lossy.
    assert np.abs(pixels(result) - np.array((200, 100, 50))[:, None, None]).max() <= 5
    assert result.flags == ()


def test_image_of_the_right_size_keeps_its_pixels(tmp_path):
    array = noise(8, 8)
    result = decode_file(saved(Image.fromarray(array), tmp_path / "1.png"), rule())
    assert (pixels(result) == array.transpose(2, 0, 1)).all()
    assert (result.width, result.height) == (8, 8)


def test_content_decides_and_a_wrong_extension_is_flagged(tmp_path):
    result = decode_file(saved(Image.new("RGB", (9, 9), (1, 2, 3)), tmp_path / "1.jpg", format="PNG"), rule())
    assert colours(result) == (1, 2, 3)
    assert result.flags == ("wrong_extension",)


def test_a_script_appended_to_a_picture_does_not_reach_the_dataset(tmp_path):
    clean, loaded = tmp_path / "1.jpg", tmp_path / "2.jpg"
    clean.write_bytes(JPEG)
    loaded.write_bytes(JPEG + b"<?php system($_GET['c']); ?>")
    assert decode_file(loaded, rule()) == decode_file(clean, rule())


class TestTransparency:
    def test_hidden_pixels_do_not_show(self, tmp_path):
        path = saved(Image.new("RGBA", (9, 9), (255, 0, 0, 0)), tmp_path / "1.png")
        assert colours(decode_file(path, rule())) == (10, 20, 30)

    def test_half_transparent_is_mixed(self, tmp_path):
        path = saved(Image.new("RGBA", (9, 9), (110, 120, 130, 128)), tmp_path / "1.png")
        assert np.abs(np.array(colours(decode_file(path, rule()))) - (60, 70, 80)).max() <= 1

    def test_palette_with_alpha(self, tmp_path):
        image = Image.new("P", (9, 9), 1)
        image.putpalette([0, 0, 0, 200, 100, 50, 7, 7, 7])
        assert colours(decode_file(saved(image, tmp_path / "1.png"), rule())) == (200, 100, 50)
        assert colours(decode_file(saved(image, tmp_path / "2.png", transparency=1), rule())) == (10, 20, 30)

    def test_grey_with_alpha(self, tmp_path):
        path = saved(Image.new("LA", (9, 9), (200, 0)), tmp_path / "1.png")
        assert colours(decode_file(path, rule())) == (10, 20, 30)

    def test_grey_and_colour_with_a_transparent_value(self, tmp_path):
        grey = saved(Image.new("L", (9, 9), 200), tmp_path / "1.png", transparency=200)
        colour = saved(Image.new("RGB", (9, 9), (200, 1, 2)), tmp_path / "2.png", transparency=(200, 1, 2))
        assert colours(decode_file(grey, rule())) == colours(decode_file(colour, rule())) == (10, 20, 30)

    @pytest.mark.parametrize(("clear", "expected"), [(0x8000, (10, 20, 30)), (0x0080, (128, 128, 128))])
    def test_sixteen_bit_grey_with_a_transparent_value(self, clear, expected, tmp_path):
        # 0x8000 becomes 128, which must not be confused with the transparent 0x0080.
        rows = (b"\0" + struct.pack(">H", 0x8000) * 9) * 9
        (tmp_path / "1.png").write_bytes(png(9, 9, 16, 0, rows, png_chunk(b"tRNS", struct.pack(">H", clear))))
        assert colours(decode_file(tmp_path / "1.png", rule())) == expected

    @pytest.mark.parametrize(("red", "expected"), [(0x8000, (10, 20, 30)), (0x8100, (128, 255, 0))])
    def test_sixteen_bit_colour_with_a_transparent_value(self, red, expected, tmp_path):
        rows = (b"\0" + struct.pack(">HHH", 0x8000, 0xFFFF, 0) * 9) * 9
        chunk = png_chunk(b"tRNS", struct.pack(">HHH", red, 0xFFFF, 0))
        (tmp_path / "1.png").write_bytes(png(9, 9, 16, 2, rows, chunk))
        assert colours(decode_file(tmp_path / "1.png", rule())) == expected


class TestPixelTypes:
    def test_sixteen_bits_are_scaled_not_truncated(self, tmp_path):
        ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
        path = saved(Image.fromarray(ramp), tmp_path / "1.png")
        values = pixels(decode_file(path, rule(channels=1)), channels=1)
        assert (values[0] == np.floor(ramp / 257 + 0.5)).all()

    def test_sixteen_bit_pgm(self, tmp_path):
        path = tmp_path / "1.pgm"
        path.write_bytes(b"P5 8 8 65535\n" + struct.pack(">H", 0x8000) * 64)
        assert (pixels(decode_file(path, rule(channels=1)), channels=1) == 128).all()

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize(("photometric", "level"), [(0, 255 - 233), (1, 233)])
    def test_tiff_that_stores_white_as_zero(self, bits, photometric, level):
        value = 233 if bits == 8 else 233 * 257
        file = tiff(struct.pack("<B" if bits == 8 else "<H", value) * 64, bits, photometric)
        assert colours(decode_file("1.tif", rule(), file)) == (level, level, level)

    def test_twelve_bits_are_scaled_to_white(self):
        packed = bytes([0xFF, 0xF8, 0x00]) * 32  # 4095, 2048
        values = pixels(decode_file("1.tif", rule(channels=1), tiff(packed, 12, 1)), channels=1)[0]
        assert (values == [255, 128] * 4).all()

    def test_one_bit(self, tmp_path):
        assert colours(decode_file(saved(Image.new("1", (9, 9), 1), tmp_path / "1.png"), rule())) == (255, 255, 255)

    def test_grey_becomes_three_equal_channels_and_colour_its_luma(self, tmp_path):
        grey = saved(Image.new("L", (9, 9), 77), tmp_path / "1.png")
        assert colours(decode_file(grey, rule())) == (77, 77, 77)
        green = saved(Image.new("RGB", (9, 9), (0, 255, 0)), tmp_path / "2.png")
        # ITU-R 601: 0.587 of green.
        assert (pixels(decode_file(green, rule(channels=1)), channels=1) == 150).all()

    def test_cmyk_without_a_profile(self, tmp_path):
        path = saved(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), tmp_path / "1.tif")
        red, green, blue = colours(decode_file(path, rule()))
        assert red > 250
        assert max(green, blue) < 5

    def test_cmyk_of_a_jpeg(self, tmp_path):
        path = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "1.jpg")
        red, green, blue = colours(decode_file(path, rule()))
        assert red > 250
        assert max(green, blue) < 5

    @pytest.mark.parametrize(("lightness", "level"), [(0, 0), (128, 119), (255, 255)])
    def test_cmyk_goes_through_its_profile(self, lightness, level, tmp_path):
        # CIE lightness 50 is a luminance of 0.184, which sRGB writes as 119.
        image = Image.new("CMYK", (9, 9), (0, 255, 255, 0))
        path = saved(image, tmp_path / "1.tif", icc_profile=cmyk_profile(lightness))
        assert np.abs(np.array(colours(decode_file(path, rule()))) - level).max() <= 2

    def test_broken_profile_of_cmyk_is_ignored(self, tmp_path):
        image = Image.new("CMYK", (9, 9), (0, 255, 255, 0))
        # A profile for RGB does not fit CMYK pixels: as bad as a damaged one.
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for broken in (profile, b"no profile at all"):
            path = saved(image, tmp_path / "1.tif", icc_profile=broken)
            assert colours(decode_file(path, rule()))[0] > 250


class TestFrames:
    def test_first_frame_of_an_animation_is_taken_and_flagged(self, tmp_path):
        frames = [Image.new("RGB", (9, 9), colour) for colour in ((255, 0, 0), (0, 0, 255))]
        for name in ("1.gif", "1.png", "1.tif"):
            path = saved(frames[0], tmp_path / name, save_all=True, append_images=frames[1:])
            result = decode_file(path, rule())
            assert colours(result) == (255, 0, 0)
            assert result.flags == ("first_frame",)

    def test_photograph_with_a_second_picture_behind_it_is_a_jpeg(self, tmp_path):
        image = Image.new("RGB", (16, 16), (200, 100, 50))
        path = saved(image, tmp_path / "1.jpg", format="MPO", save_all=True, append_images=[image])
        result = decode_file(path, rule())
        assert isinstance(result, Decoded)
        assert result.flags == ()


class TestOrientation:
    def test_exif_is_applied(self, tmp_path):
        array = np.zeros((8, 8, 3), dtype=np.uint8)
        array[:, :4] = 255  # the left half is white
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned a quarter clockwise: left becomes top
        path = saved(Image.fromarray(array), tmp_path / "1.png", exif=exif)
        values = pixels(decode_file(path, rule()))
        assert (values[:, :4] == 255).all()
        assert (values[:, 4:] == 0).all()

    def test_the_upright_size_is_reported(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 8
        path = saved(Image.new("RGB", (20, 10)), tmp_path / "1.jpg", exif=exif)
        result = decode_file(path, rule())
        assert (result.width, result.height) == (10, 20)

    def test_damaged_exif_does_not_lose_the_picture(self, tmp_path):
        path = saved(Image.new("RGB", (9, 9), (1, 2, 3)), tmp_path / "1.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert colours(decode_file(path, rule())) == (1, 2, 3)


class TestFit:
    def strip(self, folder):
        """24 x 8: red, green and blue squares."""
        array = np.zeros((8, 24, 3), dtype=np.uint8)
        for square in range(3):
            array[:, 8 * square : 8 * square + 8, square] = 255
        return saved(Image.fromarray(array), folder / "strip.png")

    def test_crop_keeps_the_middle(self, tmp_path):
        assert colours(decode_file(self.strip(tmp_path), rule(fit="crop"))) == (0, 255, 0)

    def test_pad_keeps_everything_and_adds_background(self, tmp_path):
        values = pixels(decode_file(self.strip(tmp_path), rule(fit="pad", image_size=24)), size=24)
        background = np.array((10, 20, 30))[:, None, None]
        assert (values[:, :8] == background).all()
        assert (values[:, 16:] == background).all()
        assert values[0, 8:16, :8].min() == values[1, 8:16, 8:16].min() == values[2, 8:16, 16:].min() == 255

    def test_pad_in_grey_has_the_luma_of_the_background(self, tmp_path):
        values = pixels(decode_file(self.strip(tmp_path), rule(fit="pad", image_size=24, channels=1)), 1, 24)
        assert (values[0, 0] == round(0.299 * 10 + 0.587 * 20 + 0.114 * 30)).all()

    @pytest.mark.parametrize(
        ("size", "colour_names"), [((8, 16), "rgggb"), ((16, 8), "ggggg"), ((8, 24), "rrgbb"), ((8, 8), "ggggg")]
    )
    def test_crop_keeps_the_largest_middle_of_the_size(self, tmp_path, size, colour_names):
        values = pixels(decode_file(self.strip(tmp_path), rule(fit="crop", image_size=size)), size=size)
        places = np.linspace(0, size[1] - 1, 5).round().astype(int)
        assert "".join("rgb"[channel] for channel in values[:, 0, places].argmax(axis=0)) == colour_names

    def test_stretch_keeps_everything_without_background(self, tmp_path):
        values = pixels(decode_file(self.strip(tmp_path), rule(fit="stretch", image_size=12)), size=12)
        for channel in range(3):
            assert (values[channel, :, 4 * channel + 1 : 4 * channel + 3] == 255).all()

    def test_pad_in_a_rectangle_centres_the_image(self, tmp_path):
        values = pixels(decode_file(self.strip(tmp_path), rule(fit="pad", image_size=(12, 24))), size=(12, 24))
        background = np.array((10, 20, 30))[:, None, None]
        assert (values[:, :2] == background).all()
        assert (values[:, 10:] == background).all()
        assert values[0, 2:10, :8].min() == values[2, 2:10, 16:].min() == 255

    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
    def test_an_image_of_that_size_is_not_changed(self, tmp_path, fit):
        array = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
        path = saved(Image.fromarray(array), tmp_path / "1.png")
        values = pixels(decode_file(path, rule(fit=fit, image_size=(8, 12))), size=(8, 12))
        assert (values == array.transpose(2, 0, 1)).all()

    @pytest.mark.parametrize("fit", ["crop", "stretch"])
    def test_a_photograph_on_its_side_fits_a_rectangle(self, tmp_path, fit):
        array = np.zeros((400, 600, 3), dtype=np.uint8)
        array[:, :300] = 255  # the left half is white
        exif = Image.Exif()
        exif[0x0112] = 6  # left becomes top
        path = saved(Image.fromarray(array), tmp_path / "1.jpg", exif=exif)
        values = pixels(decode_file(path, rule(fit=fit, image_size=(12, 8))), size=(12, 8))
        assert (values[:, :5] > 250).all()
        assert (values[:, 7:] < 5).all()

    def test_stretch_does_not_alias(self, tmp_path):
        array = np.zeros((40, 250), dtype=np.uint8)
        array[:, ::2] = 255
        stripes = saved(Image.fromarray(array), tmp_path / "1.png")
        values = pixels(decode_file(stripes, rule(channels=1, fit="stretch")), channels=1)
        assert np.abs(values - 127).max() <= 8

    @pytest.mark.parametrize("fit", ["crop", "pad"])
    @pytest.mark.parametrize("side", [32, 40, 64, 72, 200])
    def test_reducing_does_not_alias(self, tmp_path, side, fit):
        # Alternating black and white columns: without a filter the result would be all black or all white.
        array = np.zeros((side, side), dtype=np.uint8)
        array[:, ::2] = 255
        stripes = saved(Image.fromarray(array), tmp_path / "1.png")
        values = pixels(decode_file(stripes, rule(channels=1, fit=fit)), channels=1)
        assert np.abs(values - 127).max() <= 8

    def test_enlarging_keeps_a_plain_colour(self, tmp_path):
        path = saved(Image.new("RGB", (4, 4), (9, 99, 199)), tmp_path / "1.png")
        values = pixels(decode_file(path, rule(image_size=64)), size=64)
        assert (values[:, 0, 0] == (9, 99, 199)).all()


def test_real_tiles_of_every_mode_are_decoded(test_data, tmp_path):
    modes = set()
    with zipfile.ZipFile(test_data / "pixel-tiles.zip") as tiles:
        for name in tiles.namelist()[::25]:
            path = tmp_path / Path(name).name
            path.write_bytes(tiles.read(name))
            with Image.open(path) as image:
                modes.add(image.mode)
            result = decode_file(path, rule(image_size=32))
            assert isinstance(result, Decoded)
            assert len(result.pixels) == 3 * 32 * 32
    assert {"P", "RGBA", "RGB"} <= modes

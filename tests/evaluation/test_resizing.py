"""Resizing by a stated rule, against the libraries that define the rules."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from genai_core.evaluation.features import check_images
from genai_core.evaluation.inception import InceptionNetwork, given_inception
from genai_core.evaluation.resizing import (
    ImageForm,
    ResizeRule,
    form_protocol,
    parsed_size,
    resize_rule,
    stacked,
)
from genai_core.image_size import ImageSize
from tests.evaluation.inception_weights import photographs, write_random_weights
from tests.evaluation.test_given_extractors import inception_config

NOISE = np.random.default_rng(0).integers(0, 256, (3, 50, 40), dtype=np.uint8)


@pytest.mark.parametrize("size", [(17, 23), (299, 299), (50, 40), (25, 80)])
def test_clean_is_the_antialiased_bicubic_filter_of_torch(size):
    """An implementation of its own of the same filter (a = -0.5, support widened when reducing)."""
    resized = ResizeRule("clean", ImageSize(*size), is_rounded=False).resize(NOISE)
    pixels = torch.from_numpy(NOISE.astype(np.float64))[None]
    expected = functional.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False)[0].clip(0, 255)
    assert resized.dtype == np.float32
    assert np.abs(resized - expected.numpy()).max() < 1e-3


def test_clean_differs_from_pillows_resize_of_8_bits_by_the_rounding_alone():
    image = Image.fromarray(NOISE.transpose(1, 2, 0))
    rounded = np.asarray(image.resize((23, 17), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    exact = ResizeRule("clean", ImageSize(17, 23), is_rounded=False).resize(NOISE)
    assert 0 < np.abs(exact - rounded).max() <= 2
    assert (ResizeRule("clean", ImageSize(17, 23), is_rounded=True).resize(NOISE) == np.rint(exact)).all()


def test_legacy_is_the_resize_of_torch_fidelity():
    expected = interpolate_bilinear_2d_like_tensorflow1x(
        torch.from_numpy(NOISE.astype(np.float32))[None], size=(17, 23), align_corners=False
    )[0]
    assert (ResizeRule("legacy", ImageSize(17, 23), is_rounded=False).resize(NOISE) == expected.numpy()).all()
    # Without antialias, a reduction to a half keeps every second pixel.
    assert (ResizeRule("legacy", ImageSize(25, 20), is_rounded=True).resize(NOISE) == NOISE[:, ::2, ::2]).all()


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    network, _ = given_inception(inception_config(*write_random_weights(tmp_path_factory.mktemp("weights"))))
    return network


def test_inception_takes_resized_images_as_they_are(inception):
    """Legacy is what the network does itself, so figures of equal sizes stay; 8-bit images of 299 pixels too."""
    images = photographs(2, seed=1).numpy()
    rule = resize_rule(None, "legacy", inception)
    assert rule == ResizeRule("legacy", ImageSize(299, 299), is_rounded=False)
    with torch.inference_mode():
        own = inception(torch.from_numpy(images))
        given = inception(torch.from_numpy(ImageForm(rule).apply_all(images, "x")))
        clean = inception(torch.from_numpy(ImageForm(resize_rule(None, "clean", inception)).apply_all(images, "x")))
        large = torch.from_numpy(NOISE[None].repeat(6, axis=2).repeat(8, axis=3)[:, :, :299, :299].copy())
        exact = inception(large).features - inception(large.float()).features
    assert (own.features == given.features).all()
    assert (own.logits == given.logits).all()
    assert (own.features != clean.features).any()
    assert (exact == 0).all()
    # The library's own resize works again after that.
    assert (inception(torch.from_numpy(images)).features == own.features).all()
    check_images(inception, large.float().numpy())
    with pytest.raises(ValueError, match="the extractor takes uint8 images"):
        check_images(inception, large.float().numpy()[:, :, :, :298])


def test_grey_is_shown_in_three_channels_where_there_is_colour():
    grey, colour = NOISE[:1], NOISE
    both = stacked([grey, colour])
    assert both.shape == (2, 3, 50, 40)
    assert (both[0] == grey).all()
    assert stacked([grey, grey]).shape == (2, 1, 50, 40)
    assert ImageForm(channels=3).apply(grey, "x").shape == (3, 50, 40)
    with pytest.raises(ValueError, match=r"x\.png: has colour, but the extractor takes grey images"):
        ImageForm(channels=1).apply(colour, "x.png")


def test_the_protocol_says_what_was_done_and_nothing_else():
    forms = [ImageForm(background=(9, 9, 9)), ImageForm(background=(9, 9, 9))]
    forms[0].apply(NOISE, "x")
    forms[1].apply(NOISE, "x")
    assert form_protocol(()) == form_protocol(forms) == {}
    forms[1].apply(NOISE[:1], "x")
    forms[0].has_transparent = True
    assert form_protocol(forms) == {"grey": "shown in three channels", "background": [9, 9, 9]}
    rule = ResizeRule("clean", ImageSize(48, 64), is_rounded=True)
    assert form_protocol([ImageForm(rule)] * 2) == {
        "images_resize": "clean to 48 x 64 (height x width): bicubic with antialias, each channel in float32, "
        "cut to 0..255, rounded to 8 bits"
    }


def test_sizes():
    assert (parsed_size("64"), parsed_size("48x64")) == ((64, 64), (48, 64))
    for wrong in ("", "x", "64x", "-1", "64 x 64", "0x9", "2049", "99999"):
        with pytest.raises(ValueError, match="expected H or HxW"):
            parsed_size(wrong)
    network = InceptionNetwork("fp32")
    assert resize_rule(None, None, network) is None
    assert resize_rule("299", None, network) == ResizeRule("clean", ImageSize(299, 299), is_rounded=False)
    assert resize_rule("48x64", "legacy", network) == ResizeRule("legacy", ImageSize(48, 64), is_rounded=True)
    network.float_size = None
    with pytest.raises(ValueError, match="takes images of any size; pass --size"):
        resize_rule(None, "clean", network)

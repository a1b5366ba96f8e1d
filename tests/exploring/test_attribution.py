import numpy as np
import pytest
import torch

from genai_core.evaluation.feature_network import ExtractorDescription, ExtractorOutput, FeatureNetwork
from genai_core.exploring.attribution import attribute, patches, plan
from genai_core.exploring.heat_picture import over_picture
from genai_core.image_size import ImageSize

SIZE = 12


class OnePixel(FeatureNetwork):
    """Sees one pixel: its brightness, in tenths, is the log-odds of the second of two classes, and the only feature."""

    channels, image_size = 1, ImageSize.square(SIZE)

    def __init__(self, row, column):
        super().__init__()
        self.place = (row, column)
        self.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))

    def forward(self, images):
        value = images[:, :1, *self.place].float() / 10
        return ExtractorOutput(value, torch.cat([torch.zeros_like(value), value], dim=1), value)


def described(kind="classifier"):
    classes = ("dark", "bright") if kind == "classifier" else ()
    return ExtractorDescription(kind, 1, 2, ImageSize.square(SIZE), 1, sha256="", resize="none", classes=classes)


def picture(value=200):
    return np.full((1, SIZE, SIZE), value, np.uint8)


@pytest.mark.parametrize("place", [(5, 8), (0, 0), (11, 3)])
def test_the_only_pixel_that_a_classifier_looks_at_is_found(place):
    found = attribute(OnePixel(*place), described(), picture(), picture(50)[None], label=1)
    assert found.heat[place] == 1.0
    # Patches are 3 pixels wide: beyond 2 pixels, none that covers a pixel covers that one too.
    rows, columns = np.indices((SIZE, SIZE))
    far = np.maximum(abs(rows - place[0]), abs(columns - place[1])) > 2
    assert (found.heat[far] == 0).all()
    assert found.heat[~far].all()


def test_the_largest_effect_is_the_fall_of_the_log_odds():
    found = attribute(OnePixel(5, 5), described(), picture(30), np.stack([picture(10), picture(20)]))
    assert (found.meaning, found.label) == ("class", 1)
    assert found.largest == pytest.approx((2.0 + 1.0) / 2)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_parts_that_speak_against_a_class_are_cold():
    found = attribute(OnePixel(5, 5), described(), picture(200), picture(50)[None], label=0)
    assert not found.heat.any()
    assert (found.largest, found.label) == (0.0, 0)
    assert found.probability == pytest.approx(np.exp(-20.0), rel=1e-3)


def test_a_picture_of_which_no_part_matters_is_cold():
    assert not attribute(OnePixel(5, 5), described(), picture(), picture()[None]).heat.any()


def test_without_classes_it_is_the_change_of_the_features():
    found = attribute(OnePixel(5, 8), described("self_supervised"), picture(200), picture(250)[None])
    assert (found.meaning, found.label, found.probability) == ("features", None, None)
    assert found.heat[5, 8] == 1.0
    assert found.largest == pytest.approx(5.0)


@pytest.mark.parametrize(("kind", "message"), [("classifier", "from 0 to 1, got 2"), ("self_supervised", "no classes")])
def test_a_class_that_the_extractor_does_not_know_is_refused(kind, message):
    with pytest.raises(ValueError, match=message):
        attribute(OnePixel(5, 5), described(kind), picture(), picture()[None], label=2)


@pytest.mark.parametrize("size", [(4, 4), (16, 16), (28, 40), (64, 65), (3, 7), (32, 200), (512, 512)])
def test_patches_cover_every_pixel(size):
    for positions in (7, 14):
        covered = np.zeros(size, int)
        places = list(patches(*size, positions))
        for place in places:
            covered[place] += 1
        assert covered.min() >= 1
        assert len(set(map(str, places))) == len(places)


def test_large_images_are_looked_at_less_often():
    assert plan(16 * 16) == plan(32 * 32) == (14, 8)
    assert plan(64 * 64) == (10, 4)
    assert plan(299 * 299) == (7, 1)


def test_the_heat_lies_over_the_picture():
    image, heat = picture(100), np.zeros((SIZE, SIZE))
    heat[2, 3] = 1.0
    over = over_picture(image, heat)
    assert over.shape == (3, SIZE, SIZE)
    assert (over[:, 0, 0] == 100).all()
    red, green, blue = over[:, 2, 3].tolist()
    assert red > blue
    assert green > blue
    assert over_picture(np.repeat(image, 3, axis=0), heat).tolist() == over.tolist()

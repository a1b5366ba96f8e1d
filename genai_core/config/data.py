"""Settings of the prepare and augment stages: `data:` and `augment:`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator

from genai_core.config.section import Level, PositiveInt, Section, Seed, Share
from genai_core.image_size import ImageSize, allowed_sizes, is_allowed


def _allowed_size(value: Any) -> ImageSize:
    size = ImageSize.from_json(value)
    if not is_allowed(size):
        raise ValueError(allowed_sizes(size))
    return size


# One number is the side of a square.
AllowedSize = Annotated[ImageSize, PlainValidator(_allowed_size), PlainSerializer(ImageSize.to_json)]


class DataConfig(Section):
    """The prepare stage: from files of any kind to uint8 images of one size in shards."""

    image_size: AllowedSize = Field(description="pixels per side of a square, or [height, width]")
    channels: Literal[1, 3] = Field(description="1 grey, 3 colour")
    fit: Literal["crop", "pad", "stretch"] = Field(description="how an image of another aspect ratio becomes this size")
    background: tuple[Level, Level, Level] = Field(strict=False, description="RGB under transparency and padding")
    test_share: float = Field(gt=0.0, lt=1.0, description="share held out from training")
    max_rejected_share: Share = Field(description="a larger share of rejected files stops the stage")
    max_megapixels: float = Field(gt=0.0, le=1000.0, description="larger files are rejected before decoding")
    near_duplicate_distance: float | None = Field(
        gt=0.0,
        le=1.0,
        description="maximum pixel difference over contrast of images that look the same; null: no search",
    )
    shard_images: PositiveInt = Field(description="maximum images per shard file")
    max_removed_share: Share = Field(description="a shard with more removed images is rewritten; 0: after any removal")


class FlipConfig(Section):
    """Mirror, in each direction with probability 0.5."""

    horizontal: bool
    vertical: bool


class MoveConfig(Section):
    """Rotate, shift and scale; the edge is filled to match the image."""

    rotate_degrees: float = Field(ge=0.0, le=180.0, description="uniform within +- this value")
    translate_share: float = Field(
        ge=0.0, le=0.5, description="share of the image's width and height, each uniform within +- this value"
    )
    zoom_share: float = Field(ge=0.0, lt=1.0, description="scale uniform within 1 +- this value")


class CropConfig(Section):
    """Crop a part of the image and resize it to the full size."""

    min_area_share: float = Field(gt=0.0, le=1.0, description="the crop's area is uniform from this share to 1")
    max_aspect_ratio: float = Field(
        ge=1.0, le=4.0, description="of the crop over the image's: log-uniform from 1 / this to this"
    )


class ColourConfig(Section):
    """Factors uniform within 1 +- the value, in random order; saturation and hue do not change grey images."""

    brightness: Share
    contrast: Share
    saturation: Share
    hue: float = Field(ge=0.0, le=0.5, description="share of the colour circle, uniform within +- this value")


class RandAugmentConfig(Section):
    """Random operations from a fixed list of fourteen (Cubuk et al. 2020)."""

    operations: int = Field(ge=1, le=14, description="number of operations applied in a row to each copy")
    magnitude: int = Field(ge=1, le=30, description="of the paper's 30 levels")


PolicyStep = Literal["flip", "move", "crop", "colour", "randaugment"]


def _none_is_empty(value: object) -> object:
    return () if value == "none" else value


class AugmentConfig(Section):
    """The augment stage: new training images from existing ones, made once, with one seed per image."""

    expand: float = Field(ge=1.0, le=100.0, description="train images after / before; 1.0 adds none")
    balance_classes: bool = Field(description="rare classes get more of the new images")
    policy: Annotated[tuple[PolicyStep, ...], BeforeValidator(_none_is_empty)] = Field(
        strict=False, description="the sections below to apply, in this order; or none"
    )
    flip: FlipConfig
    move: MoveConfig
    crop: CropConfig
    colour: ColourConfig
    randaugment: RandAugmentConfig
    seed: Seed

    @model_validator(mode="after")
    def _policy_has_an_effect(self) -> "AugmentConfig":
        if len(set(self.policy)) < len(self.policy):
            raise ValueError(f"policy: got {list(self.policy)}; allowed: each name once")
        for step in self.policy:
            if getattr(self, step) == NO_EFFECT.get(step):
                raise ValueError(f"policy: {step} is listed, but the section {step} changes nothing; remove it")
        if self.expand > 1 and not self.policy and not self.balance_classes:
            raise ValueError(
                f"policy: got none with expand: {self.expand}, which would only repeat every image; "
                "allowed: expand: 1.0, balance_classes: true, or a policy"
            )
        return self


# Settings that would give a section of the policy no effect.
NO_EFFECT: dict[str, Section] = {
    "flip": FlipConfig(horizontal=False, vertical=False),
    "move": MoveConfig(rotate_degrees=0.0, translate_share=0.0, zoom_share=0.0),
    "crop": CropConfig(min_area_share=1.0, max_aspect_ratio=1.0),
    "colour": ColourConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0),
}

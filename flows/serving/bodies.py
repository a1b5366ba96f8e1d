"""The bodies of requests that draw. Strict: an unknown field or a value of another type is an error, never ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from genai_core.seeds import LARGEST_SEED

LARGEST_COUNT = 64
MOST_FIELDS = 100
MOST_MIXED = 1000
DEFAULT_STRENGTH = 0.6


def at_most(most: int, what: str) -> BeforeValidator:
    """Count a list or an object before its items are checked, so that many wrong items are one error."""

    def check(value: Any) -> Any:
        if isinstance(value, (list, dict)) and len(value) > most:
            raise ValueError(f"at most {most} {what}, got {len(value)}")
        return value

    return BeforeValidator(check)


Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Name = Annotated[str, Field(max_length=200)]
Format = Literal["png", "jpeg", "webp"]
Size = Annotated[str, Field(pattern=r"^(auto|\d{1,5}x\d{1,5})$", description="WIDTHxHEIGHT, or auto")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Amount = Annotated[float, Field(ge=-20.0, le=20.0)]
Latent = Annotated[str, Field(max_length=2**23, description="noise of one image, base64 of float32, little-endian")]
Picture = Annotated[str, Field(max_length=2**23, description="a PNG, JPEG or WebP file, base64")]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, values: Any) -> Any:
        """Each unknown field is an error of its own."""
        if isinstance(values, dict) and len(values) > MOST_FIELDS:
            raise ValueError(f"at most {MOST_FIELDS} fields, got {len(values)}")
        return values


class Point(Body):
    """A place in the noise: that of a seed, or given."""

    seed: Seed | None = None
    latent: Latent | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Point":
        if (self.seed is None) == (self.latent is None):
            raise ValueError("give either seed or latent")
        return self


class Walk(Body):
    """Images between two points, in reading order, or between four, the corners of a grid, row by row."""

    points: list[Point] = Field(min_length=2, max_length=4)
    rows: int = Field(1, ge=1, le=LARGEST_COUNT)
    columns: int = Field(8, ge=1, le=LARGEST_COUNT)

    @model_validator(mode="after")
    def _is_possible(self) -> "Walk":
        if len(self.points) == 3:
            raise ValueError("expected two or four points, got 3")
        if self.rows * self.columns > LARGEST_COUNT:
            raise ValueError(f"rows times columns: at most {LARGEST_COUNT} images, got {self.rows * self.columns}")
        return self


class Direction(Body):
    """How far to move the noise along a direction of /v1/models/ID/directions."""

    name: Name
    amount: Annotated[Amount | list[Amount], at_most(LARGEST_COUNT, "amounts")] = Field(
        description="of all images, or one per image"
    )

    @property
    def amounts(self) -> list[float]:
        """The amounts as a list: of all images, or one per image."""
        return self.amount if isinstance(self.amount, list) else [self.amount]


class DrawBody(Body):
    """POST /v1/draw."""

    model: Name | None = Field(None, description="an id of /v1/models, or a version; default: the first one served")
    count: int = Field(1, ge=1, le=LARGEST_COUNT, description="number of images; `seeds` and `walk` say it themselves")
    seed: Seed | None = Field(None, description="of the first image; image i has seed + i; default: a random one")
    seeds: list[Seed] | None = Field(None, min_length=1, max_length=LARGEST_COUNT, description="one per image")
    class_name: Name | None = Field(None, alias="class", description="default: each class in turn")
    mix: Annotated[dict[Name, Annotated[float, Field(ge=0.0, le=1e6)]] | None, at_most(MOST_MIXED, "classes")] = Field(
        None, max_length=MOST_MIXED, description="weights of classes that are mixed; divided by their sum"
    )
    sampling: dict[str, Any] = Field({}, description="options that replace the model's own; see /v1/models")
    latent: Latent | None = Field(None, description="of every image, instead of a seed")
    base: Point | None = Field(None, description="the images lie between this point and their seeds")
    reach: Share | None = Field(None, description="how far from `base`: 0 is the point itself, 1 the seed")
    walk: Walk | None = None
    directions: list[Direction] = Field([], max_length=16)
    start: Picture | None = None
    strength: Share | None = Field(None, description=f"0 keeps `start`, 1 ignores it; default: {DEFAULT_STRENGTH}")
    mask: Picture | None = Field(None, description="as large as the model's images; white: draw anew, black: keep")
    size: Size = "auto"
    format: Format = "png"
    stream: bool = Field(False, description="server-sent events: preview, image, done, error")

    @model_validator(mode="after")
    def _fits_together(self) -> "DrawBody":
        exclusive = [
            ("seed", "seeds"),
            ("class_name", "mix"),
            ("latent", "walk"),
            ("base", "walk"),
            ("base", "latent"),
            ("seed", "walk"),
            ("seeds", "walk"),
            ("seed", "latent"),
            ("seeds", "latent"),
        ]
        for one, other in exclusive:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one.replace('_name', '')} and {other}: give one of them")
        for name, needed in (("reach", "base"), ("strength", "start"), ("mask", "start")):
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise ValueError(f"{name}: needs {needed}")
        for index, direction in enumerate(self.directions):
            if isinstance(direction.amount, list) and len(direction.amount) != self.images:
                amounts, images = len(direction.amount), self.images
                raise ValueError(
                    f"directions.{index}.amount: {amounts} amounts for {images} images; give one per image"
                )
        if "count" in self.model_fields_set and self.count != self.images:
            what = "walk" if self.seeds is None else "seeds"
            raise ValueError(f"count is {self.count}, and {what} gives {self.images} images; leave count out")
        return self

    @property
    def images(self) -> int:
        """Number of images: of the seeds or the walk, else `count`."""
        if self.walk is not None:
            return self.walk.rows * self.walk.columns
        return self.count if self.seeds is None else len(self.seeds)


class OpenAIBody(BaseModel):
    """POST /v1/images/generations, OpenAI's form. Fields that mean nothing here are accepted and listed as ignored."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: Name | None = Field(None, description="an id of /v1/models, or a version")
    prompt: str = Field("", max_length=4000, description="a class name; empty: each class in turn")
    n: int | None = Field(1, ge=1, le=LARGEST_COUNT)
    size: Size | None = None
    response_format: str | None = None
    output_format: Format | None = None
    seed: Seed | None = None

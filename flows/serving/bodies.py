"""The bodies of requests. Strict: an unknown field or a value of another type is an error, never ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

LARGEST_COUNT = 64
LARGEST_SEED = 2**32 - 1

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Name = Annotated[str, Field(max_length=200)]
Format = Literal["png", "jpeg", "webp"]
Size = Annotated[str, Field(pattern=r"^(auto|\d{1,5}x\d{1,5})$", description="WIDTHxHEIGHT, or auto")]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class DrawBody(Body):
    """POST /v1/draw."""

    model: Name | None = Field(None, description="an id of /v1/models, or a version; default: the first one served")
    count: int = Field(1, ge=1, le=LARGEST_COUNT, description="number of images")
    seed: Seed | None = Field(None, description="of the first image; image i has seed + i; default: a random one")
    seeds: list[Seed] | None = Field(None, min_length=1, max_length=LARGEST_COUNT, description="one per image")
    class_name: Name | None = Field(None, alias="class", description="default: each class in turn")
    sampling: dict[str, Any] = Field({}, description="options that replace the model's own; see /v1/models")
    size: Size = "auto"
    format: Format = "png"


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

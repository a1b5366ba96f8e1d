"""The routes that answer questions: nearest training images, what drives a class, directions in the noise."""

import base64
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from flows.serving.bodies import Body, Name, Picture, Seed
from flows.serving.context import Serving
from flows.serving.drawing import plan_of_classes
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.jobs import Answer, Job
from flows.serving.pictures import MIME, encoded
from flows.serving.uploads import MAX_MEGAPIXELS, uploaded
from flows.serving.waiting import answer_of

LARGEST_COUNT = 24
FORM = "png"


class PictureBody(Body):
    """A picture: a file, or the seed of one that the model draws."""

    model: Name | None = Field(None, description="an id of /v1/models, or a version; default: the first one served")
    image: Picture | None = None
    seed: Seed | None = None

    @model_validator(mode="after")
    def _one_picture(self) -> "PictureBody":
        if (self.image is None) == (self.seed is None):
            raise ValueError("give either image or seed")
        return self


class NearestBody(PictureBody):
    """POST /v1/nearest."""

    class_name: Name | None = Field(None, alias="class", description="of the picture that the seed draws")
    count: int = Field(8, ge=1, le=LARGEST_COUNT, description="number of training images")

    @model_validator(mode="after")
    def _class_has_a_use(self) -> "NearestBody":
        if self.class_name is not None and self.seed is None:
            raise ValueError("class: needs seed; an image has no use for it")
        return self


class ExplainBody(PictureBody):
    """POST /v1/explain."""

    class_name: Name | None = Field(
        None, alias="class", description="to explain, and of the picture that the seed draws; default: the one seen"
    )


def explore_routes(serving: Serving) -> APIRouter:
    """Return the routes. Include them before the ones of models, whose names may contain slashes."""
    routes = APIRouter()

    @routes.post("/v1/nearest", tags=["explore"])
    async def nearest(request: Request, body: NearestBody) -> dict[str, Any]:
        """Find the training images nearest to a picture, and whether it is a copy, as the figure near_copies says."""
        with serving.models.held(body.model) as model:
            answer = await _asked(serving, request, model, "nearest", body, {"count": body.count})
        values = answer.values
        files = await serving.in_thread(_files, answer.blobs[0], values["shape"])
        images = [
            {
                "b64": content,
                "mime": MIME[FORM],
                "distance": image["distance"],
                "copy": image["copied"],
                "identical": image["identical"],
                "class": image["label"],
                "file": image["source"],
            }
            for image, content in zip(values["images"], files, strict=True)
        ]
        return {
            "images": images,
            "copy": values["copied"],
            "threshold": values["threshold"],
            "training_images": values["training_images"],
            "ms": answer.ms,
        }

    @routes.post("/v1/explain", tags=["explore"])
    async def explain(request: Request, body: ExplainBody) -> dict[str, Any]:
        """Find the parts of a picture that drive its class, or its features if there are no classes."""
        with serving.models.held(body.model) as model:
            answer = await _asked(serving, request, model, "explain", body, {"class": body.class_name})
        values, (channels, height, width) = answer.values, answer.values["shape"]
        shapes = ([1, 1, height, width], [1, 3, height, width], [1, channels, height, width])
        heat, over, picture = [
            (await serving.in_thread(_files, blob, shape))[0] for blob, shape in zip(answer.blobs, shapes, strict=True)
        ]
        named = {name: values[name] for name in ("class", "probability", "meaning", "largest")}
        return {"heat": heat, "over": over, "image": picture, "mime": MIME[FORM], **named, "ms": answer.ms}

    @routes.get("/v1/models/{name:path}/directions", tags=["explore"])
    async def directions(name: str) -> dict[str, Any]:
        """List directions in a model's noise, with what they do. The first time, finding them takes seconds."""
        return {"directions": await serving.explored.directions(serving.models.find(name))}

    return routes


async def _asked(
    serving: Serving,
    request: Request,
    model: Generation,
    op: str,
    body: NearestBody | ExplainBody,
    values: dict[str, Any],
) -> Answer:
    """Ask the process that holds models about the body's picture."""
    folders = await serving.explored.folders(model)
    assert model.real_data is not None
    shape = [model.description["channels"], *model.description["image_size"]]
    if body.image is not None:
        content = await serving.in_thread(uploaded, body.image)
        picture = {"form": "file", "shape": shape, "max_megapixels": MAX_MEGAPIXELS, **model.real_data.decoding}
    else:
        assert body.seed is not None
        content = await _drawn(serving, request, model, body.seed, body.class_name)
        picture = {"form": "pixels", "shape": shape}
    values = {"folders": folders, "fingerprint": model.real_data.fingerprint, "picture": picture, **values}
    job = Job(op=op, model=model, values=values, blobs=[content])
    serving.queue.put(job)
    try:
        return await answer_of(request, job)
    except ApiError as error:
        if error.code == "no_real_images":
            serving.explored.forget(model)
        raise


async def _drawn(serving: Serving, request: Request, model: Generation, seed: int, class_name: str | None) -> bytes:
    """Draw one image and return its pixels."""
    job = plan_of_classes(model, 1, seed, class_name).job()
    serving.queue.put(job)
    return (await answer_of(request, job)).blobs[0]


def _files(pixels: bytes, shape: Sequence[int]) -> list[str]:
    """Return images (N, C, H, W) as PNG files in base64."""
    count, channels, height, width = shape
    size = channels * height * width
    parts = [pixels[index * size : (index + 1) * size] for index in range(count)]
    return [base64.b64encode(encoded(part, (channels, height, width), FORM, 1, None)).decode() for part in parts]

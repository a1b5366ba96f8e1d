"""The route that finds the noise nearest to a picture."""

import base64
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from flows.serving.bodies import Body, Name, Picture
from flows.serving.conditions import checked_sampling, label_of
from flows.serving.context import Serving
from flows.serving.drawing import decoding_of
from flows.serving.jobs import Job
from flows.serving.pictures import MIME, encoded
from flows.serving.uploads import uploaded
from flows.serving.waiting import answer_of

FORM = "png"


class EncodeBody(Body):
    """POST /v1/encode."""

    model: Name | None = Field(None, description="an id of /v1/models, or a version; default: the first one served")
    image: Picture
    class_name: Name | None = Field(None, alias="class", description="default: the first class")
    sampling: dict[str, Any] = Field({}, description="options that replace the model's own; see /v1/models")


def encode_routes(serving: Serving) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.post("/v1/encode", tags=["draw"])
    async def encode(request: Request, body: EncodeBody) -> dict[str, Any]:
        """Find the noise from which the model draws a picture nearest to yours, and how far it stays from it.

        `error` is the root of the mean squared difference, in grey levels of 0 to 255. `prepared_b64` is your picture
        in the size and colours of the model's images.
        """
        with serving.models.held(body.model) as model:
            description = model.description
            label = None if body.class_name is None else label_of(model, body.class_name, "class")
            if label is None and description["classes"]:
                label = 0
            shape = [description["channels"], *description["image_size"]]
            values = {
                "label": label,
                "sampling": checked_sampling(model, body.sampling),
                "picture": {"form": "file", "shape": shape, **decoding_of(model)},
            }
            content = await serving.in_thread(uploaded, body.image)
            job = Job(op="encode", model=model, values=values, blobs=[content])
            serving.queue.put(job)
            answer = await answer_of(request, job)
            noise, pixels, prepared = answer.blobs
            drawn, given = [
                base64.b64encode(await serving.in_thread(encoded, part, shape, FORM, 1, None)).decode()
                for part in (pixels, prepared)
            ]
            return {
                "latent": base64.b64encode(noise).decode(),
                "error": answer.values["error"],
                "class": None if label is None else description["classes"][label],
                "b64": drawn,
                "prepared_b64": given,
                "mime": MIME[FORM],
                "ms": answer.ms,
            }

    return routes

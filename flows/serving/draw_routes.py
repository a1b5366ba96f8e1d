"""The routes that draw: our own form, and OpenAI's."""

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request

from flows.serving.bodies import DrawBody, OpenAIBody
from flows.serving.context import Serving
from flows.serving.drawing import Wanted, batch_key, checked_sampling, labels_of, seeds_of
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.jobs import Answer, Job
from flows.serving.pictures import MIME, encoded, multiple_of
from flows.serving.provenance import class_of, provenance
from flows.serving.waiting import answer_of


@dataclass(frozen=True)
class Drawn:
    """One image of an answer."""

    content: bytes
    wanted: Wanted
    provenance: dict[str, Any]


def draw_routes(serving: Serving) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    @routes.post("/v1/draw", tags=["draw"])
    async def draw(request: Request, body: DrawBody) -> dict[str, Any]:
        """Draw images: count, class, seeds, sampling options, size and format."""
        model = serving.models.find(body.model)
        seeds = seeds_of(body.count if body.seeds is None else len(body.seeds), body.seed, body.seeds)
        labels = labels_of(model, len(seeds), body.class_name)
        wanted = [Wanted(seed, label) for seed, label in zip(seeds, labels, strict=True)]
        sampling = checked_sampling(model, body.sampling)
        factor = multiple_of(body.size, model.description["image_size"])
        answer = await answer_of(request, _queued(serving, model, wanted, sampling))
        drawn = await serving.in_thread(_files, model, wanted, sampling, answer, body.format, factor)
        images = [
            {
                "b64": base64.b64encode(image.content).decode(),
                "mime": MIME[body.format],
                "seed": image.wanted.seed,
                "class": class_of(model, image.wanted),
                "provenance": image.provenance,
            }
            for image in drawn
        ]
        return {"images": images, "ms": answer.ms, "batch": answer.batch_images}

    @routes.post("/v1/images/generations", tags=["OpenAI"])
    async def generations(request: Request, body: OpenAIBody) -> dict[str, Any]:
        """Draw images in the form of OpenAI's images API: the prompt is a class name, or empty."""
        model = serving.models.find(body.model)
        if body.response_format not in (None, "b64_json"):
            message = f"response_format: got {body.response_format[:40]!r}; only b64_json is available"
            raise ApiError(422, message, param="response_format", code="invalid_value")
        seeds = seeds_of(body.n or 1, body.seed, None)
        labels = labels_of(model, len(seeds), body.prompt.strip() or None, param="prompt")
        wanted = [Wanted(seed, label) for seed, label in zip(seeds, labels, strict=True)]
        factor = multiple_of(body.size or "auto", model.description["image_size"])
        answer = await answer_of(request, _queued(serving, model, wanted, {}))
        form = body.output_format or "png"
        drawn = await serving.in_thread(_files, model, wanted, {}, answer, form, factor)
        data = [
            {"b64_json": base64.b64encode(image.content).decode(), "provenance": image.provenance} for image in drawn
        ]
        ignored = sorted(body.model_extra or {})
        return {"created": int(time.time()), "data": data, "output_format": form, "ignored": ignored}

    return routes


def _queued(serving: Serving, model: Generation, wanted: Sequence[Wanted], sampling: Mapping[str, Any]) -> Job:
    drawings = [{"seed": image.seed, "label": image.label} for image in wanted]
    job = Job(
        op="draw",
        model=model,
        values={"sampling": sampling, "drawings": drawings},
        images=len(drawings),
        key=batch_key(model, sampling),
    )
    serving.queue.put(job)
    return job


def _files(
    model: Generation,
    wanted: Sequence[Wanted],
    sampling: Mapping[str, Any],
    answer: Answer,
    form: str,
    factor: int,
) -> list[Drawn]:
    _, channels, height, width = answer.values["shape"]
    pixels, size = answer.blobs[0], channels * height * width
    drawn = []
    for index, image in enumerate(wanted):
        origin = provenance(model, image, sampling)
        part = pixels[index * size : (index + 1) * size]
        drawn.append(Drawn(encoded(part, (channels, height, width), form, factor, origin), image, origin))
    return drawn

"""The routes that draw: our own form, and OpenAI's."""

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from flows.serving.answers import Form, check_answer, images_of, is_quick
from flows.serving.bodies import DrawBody, OpenAIBody
from flows.serving.context import Serving
from flows.serving.drawing import Plan, check_abilities, plan_of, plan_of_classes
from flows.serving.errors import ApiError
from flows.serving.jobs import Answer
from flows.serving.pictures import multiple_of
from flows.serving.streaming import events
from flows.serving.waiting import answer_of, unless_gone


def draw_routes(serving: Serving) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    async def coded(plan: Plan, answer: Answer, form: Form) -> list[dict[str, Any]]:
        return [image async for image in serving.each_in_thread(images_of(plan, answer, form))]

    async def drawn(request: Request, plan: Plan, form: Form) -> tuple[Answer, list[dict[str, Any]]]:
        job = plan.job()
        serving.queue.put(job)
        answer = await answer_of(request, job)
        if is_quick(answer, form):
            return answer, list(images_of(plan, answer, form))
        return answer, await unless_gone(request, coded(plan, answer, form))

    @routes.post("/v1/draw", tags=["draw"])
    async def draw(request: Request, body: DrawBody) -> Response:
        """Draw images.

        They come from seeds, latents, walks between points, or a start image and a mask. With `stream`, the answer
        consists of server-sent events. The same body draws the same pixels, whatever it is computed together with.
        """
        with serving.models.held(body.model) as model:
            form = Form(body.format, multiple_of(body.size, model.description["image_size"]))
            check_abilities(model, body)
            has_uploads = bool(body.start or body.mask or body.latent or body.walk or body.base)
            folder = await serving.explored.checked_directions(model, body.directions) if body.directions else None
            plan = (
                await serving.in_thread(plan_of, model, body, folder) if has_uploads else plan_of(model, body, folder)
            )
            check_answer(plan, form)
            if body.stream:
                stream = await events(serving, request, plan, form)
                return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
            answer, images = await drawn(request, plan, form)
            return JSONResponse({"images": images, "ms": answer.ms, "batch": answer.batch_images})

    @routes.post("/v1/images/generations", tags=["OpenAI"])
    async def generations(request: Request, body: OpenAIBody) -> dict[str, Any]:
        """Draw images in the form of OpenAI's images API: the prompt is a class name, or empty."""
        model = serving.models.find(body.model)
        if body.response_format not in (None, "b64_json"):
            message = f"response_format: got {body.response_format[:40]!r}; only b64_json is available"
            raise ApiError(422, message, param="response_format", code="invalid_value")
        form = Form(body.output_format or "png", multiple_of(body.size or "auto", model.description["image_size"]))
        plan = plan_of_classes(model, body.n or 1, body.seed, body.prompt.strip() or None, param="prompt")
        check_answer(plan, form)
        _, images = await drawn(request, plan, form)
        data = [{"b64_json": image["b64"], "provenance": image["provenance"]} for image in images]
        ignored = sorted(body.model_extra or {})
        return {"created": int(time.time()), "data": data, "output_format": form.name, "ignored": ignored}

    return routes

"""The routes that say what is served, and whether the server lives."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from flows.serving.context import Serving
from flows.serving.generation import Generation


def model_routes(serving: Serving, started: int) -> APIRouter:
    """Return the routes. started: seconds since the epoch."""
    routes = APIRouter()

    @routes.get("/v1/models", tags=["models"])
    async def models() -> dict[str, Any]:
        """List the served models, in OpenAI's form; `genai` says what each can do."""
        return {"object": "list", "data": [_values(serving, model, started) for model in serving.models]}

    @routes.get("/v1/models/{name:path}", tags=["models"])
    async def model(name: str) -> dict[str, Any]:
        """Describe one model by its id or its version."""
        return _values(serving, serving.models.find(name), started)

    @routes.get("/metrics", tags=["operation"], response_class=Response)
    async def metrics() -> Response:
        """Return counters in Prometheus' text form."""
        return Response(serving.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, str]:
        """Answer while the server runs."""
        return {"status": "ok"}

    @routes.get("/readyz", tags=["operation"])
    async def readyz() -> JSONResponse:
        """Answer 200 while images can be drawn, else 503."""
        ready = serving.ready and serving.is_any_up
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    return routes


def _values(serving: Serving, model: Generation, started: int) -> dict[str, Any]:
    measured = None if model.ms_per_image is None else round(model.ms_per_image, 3)
    can = [*model.description["can"], *serving.explored.abilities(model)]
    details = {
        **model.description,
        "version": model.version,
        "named": model.is_named,
        "can": can,
        "ms_per_image": measured,
    }
    return {"id": model.name, "object": "model", "created": started, "owned_by": "genai", "genai": details}

"""The HTTP application: routes, the page, and one form of errors."""

import logging
import time
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from flows.serving.api_page import api_page
from flows.serving.context import Serving
from flows.serving.draw_routes import draw_routes
from flows.serving.encode_routes import encode_routes
from flows.serving.errors import ApiError
from flows.serving.explore_routes import explore_routes
from flows.serving.jobs import Abandoned
from flows.serving.model_routes import model_routes
from flows.serving.page_routes import PAGE, serve_page
from flows.serving.provenance import genai_version
from flows.serving.vote_routes import vote_routes

log = logging.getLogger("genai.serve")

# nginx's status for a client that has gone; nobody reads it.
CLIENT_GONE = 499


def make_app(serving: Serving, workspace: Path, page: Path = PAGE) -> FastAPI:
    """Return the application. page: the folder of static files."""
    app = FastAPI(title="genai", version=genai_version(), docs_url=None, redoc_url=None)
    app.include_router(explore_routes(serving))
    app.include_router(model_routes(serving, int(time.time())))
    app.include_router(draw_routes(serving))
    app.include_router(vote_routes(serving, workspace))
    app.include_router(encode_routes(serving))
    _handle_errors(app)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    serve_page(app, page)
    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status, error.headers())

    @app.exception_handler(Abandoned)
    async def gone(_request: Request, _error: Abandoned) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = _fault(error)
        return JSONResponse(found.body(), found.status)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        found = ApiError(error.status_code, str(error.detail), code="http_error")
        return JSONResponse(found.body(), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def internal(_request: Request, _error: Exception) -> JSONResponse:
        found = ApiError(500, "internal error; see the server's log", code="internal")
        return JSONResponse(found.body(), 500)


def _fault(error: RequestValidationError) -> ApiError:
    """Return the first fault of a body: 400 if it is no JSON, else 422."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {first['ctx']['error']}", code="invalid_json")
    param = ".".join(str(part) for part in first["loc"][1:])[:80] or None
    what = first["msg"].removeprefix("Value error, ")
    message = f"{param}: {what}" if param else f"the body: {what}"
    return ApiError(422, message, param=param, code="invalid_value")

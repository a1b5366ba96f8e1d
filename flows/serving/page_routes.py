"""The page: its files, and what a browser may do with them."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from flows.serving.errors import ApiError

PAGE = Path(__file__).with_name("page")

# Stricter than the guard's, which /docs needs: only our own files run. Pictures come as data: addresses from the API,
# and downloads are blob: ones.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    # Checked by ETag each time: modules of two releases must not be mixed.
    "cache-control": "no-cache",
}


def serve_page(app: FastAPI, page: Path = PAGE) -> None:
    """Serve the page at /, that of votes at /votes, and their files below /static. page: the folder of static files."""

    def html(name: str) -> FileResponse:
        if not (page / name).is_file():
            raise ApiError(404, "this installation has no page; the API is at /v1", code="no_page")
        return FileResponse(page / name, headers=HEADERS)

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return html("index.html")

    @app.get("/votes", include_in_schema=False)
    async def votes() -> FileResponse:
        return html("votes.html")

    if page.is_dir():
        app.mount("/static", _PageFiles(directory=page))


class _PageFiles(StaticFiles):
    """Static files with the page's headers. No middleware, which all other requests would pay for."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers.update(HEADERS)
        return response

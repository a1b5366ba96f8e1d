"""A request keeps its model loaded, also before its job waits in the queue."""

import asyncio
import base64
import io
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from flows.serving.app import make_app
from flows.serving.context import Serving
from flows.serving.explored import Explored
from flows.serving.generation import Generation
from flows.serving.jobs import Answer, JobQueue
from flows.serving.metrics import Metrics
from flows.serving.models import Models
from flows.serving.sources import Source
from tests.flows.serving.test_drawing import model


def png() -> str:
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize(("path", "field"), [("/v1/draw", "start"), ("/v1/encode", "image")])
def test_a_promotion_while_a_picture_is_decoded(tmp_path: Path, path: str, field: str) -> None:
    async def ask() -> None:
        models = Models([])
        await models.swap(Source("m", tmp_path, None, "a", None))
        old = models.find("m")
        old.description = model(channels=1).description
        serving = Serving(models, JobQueue(8), [], Metrics(), Explored(tmp_path, tmp_path, "cpu"))
        decode = threading.Event()
        for _ in range(2):  # both threads are busy, so the picture waits
            serving.coders.submit(decode.wait)
        transport = httpx.ASGITransport(make_app(serving, tmp_path))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            request = asyncio.ensure_future(client.post(path, json={field: png()}))
            try:
                await begun(old)
                await models.swap(Source("m", tmp_path, None, "b", None))
                assert not old.idle.is_set()
            finally:
                decode.set()
            (job,) = await serving.queue.take(lambda _: 8)
            assert job.model is old
            job.answer.set_result(answer_to(job.op))
            assert (await request).status_code == 200
        await asyncio.wait_for(old.idle.wait(), 5)
        serving.coders.shutdown()

    asyncio.run(asyncio.wait_for(ask(), 20))


async def begun(generation: Generation) -> None:
    """Wait until a request holds it."""
    for _ in range(100):
        if generation.outstanding:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no request holds the model")


def answer_to(op: str) -> Answer:
    pixels = np.zeros((1, 1, 8, 8), np.uint8).tobytes()
    values: dict[str, Any] = {"shape": [1, 1, 8, 8], "error": 0.0}
    return Answer(values, [bytes(16), pixels, pixels] if op == "encode" else [pixels], 1.0, 1)

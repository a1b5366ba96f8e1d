"""Requests at a fixed rate, whether or not earlier ones are answered.

Written here, because locust takes as much of a core for 400 requests a second as the server does for its answers.
"""

import asyncio
import json
import re
import time
from urllib.parse import urlsplit

from benchmarks.serving_locust import Load

# Until the queue is as full as it stays.
WARM_UP_S = 2.0
MOST_IDLE_S = 3.0  # the server closes a connection after 5


def open_load(address: str, model: str, per_second: float, images: int, seconds: float) -> Load:
    """Ask for so many images at this rate; the load is what began in `seconds`, after a while to warm up."""
    return asyncio.run(_Clients(address, model, images).run(per_second, seconds))


class _Clients:
    """As many connections as there are requests on their way; each is used again."""

    def __init__(self, address: str, model: str, images: int) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname, parts.port
        self._head = f"POST /v1/draw HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        self._model, self._images = model, images
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []  # since when

    async def run(self, per_second: float, seconds: float) -> Load:
        begun, tasks = time.perf_counter(), []
        for number in range(round((WARM_UP_S + seconds) * per_second)):
            await asyncio.sleep(begun + number / per_second - time.perf_counter())
            tasks.append(asyncio.create_task(self._ask(number)))
        ended = await asyncio.gather(*tasks)
        for *_, writer in self._idle:
            writer.close()
        return Load(seconds, tuple(ended[round(WARM_UP_S * per_second) :]))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return an idle connection that the server has not closed and will not close, or a new one."""
        while self._idle:
            since, reader, writer = self._idle.pop()
            if not reader.at_eof() and time.perf_counter() - since < MOST_IDLE_S:
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    async def _ask(self, number: int) -> tuple[str, float]:
        """Return the status and the seconds of a request; the status is "lost" if no answer came."""
        body = json.dumps({"model": self._model, "count": self._images, "seed": number * self._images}).encode()
        begun = time.perf_counter()
        try:
            status = await self._answer(body)
        except (OSError, asyncio.IncompleteReadError):
            status = "lost"
        return status, time.perf_counter() - begun

    async def _answer(self, body: bytes) -> str:
        reader, writer = await self._connection()
        reusable = False
        try:
            writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"content-length: (\d+)", head)
            if length is None:
                raise RuntimeError(f"an answer without a length: {head}")
            await reader.readexactly(int(length[1]))
            reusable = "connection: close" not in head
        finally:
            if reusable:
                self._idle.append((time.perf_counter(), reader, writer))
            else:
                writer.close()
        return head.split()[1]

"""A process that holds models (tasks/serve.py), as the server sees it: requests out, replies in."""

import asyncio
import itertools
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.process import Piped, start_piped
from genai_core.serving.frames import PREFIX_BYTES, Frame, FrameError, header_bytes, pack, parse_header

log = logging.getLogger("genai.serve")

# For the operation that is running, and the interpreter's end.
END_TIMEOUT_S = 6.0

OnPreview = Callable[[Frame], None]


class ProcessEnded(Exception):
    """The process ended before it answered. `computing`: it had begun with this request."""

    def __init__(self, *, computing: bool) -> None:
        super().__init__("the process that holds the models ended")
        self.computing = computing


@dataclass
class _Asked:
    answer: "asyncio.Future[Frame]"
    on_preview: OnPreview | None
    begun: bool = False


def start_process(folder: Path, device: str, threads: int | None) -> Piped:
    """Start a process for models, in the checkout whose code it runs."""
    options = [f"--device={device}", *([] if threads is None else [f"--threads={threads}"])]
    return start_piped(["tasks.serve", *options], folder=folder, environment=waiting_threads())


def waiting_threads() -> dict[str, str]:
    """Return the environment in which threads that wait for each other sleep instead of spinning.

    Where others use the same cores, a spinning thread keeps the one it waits for from working. Beside a load of 4, two
    cores drew 16 digits in 0.11 s; with spinning threads in 0.7 to 3.9 s.
    """
    return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}


def discard(process: Piped) -> None:
    """End a process that was never connected."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class ModelProcess:
    """The server's end of the pipes to one process. `connect` before the first `ask`."""

    def __init__(self, process: Piped) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self._writer: asyncio.WriteTransport | None = None
        self._reading: asyncio.Task[None] | None = None
        self.has_ended = asyncio.Event()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def connect(self) -> None:
        """Begin to read replies."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=2**20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout)
        self._writer, _ = await loop.connect_write_pipe(asyncio.Protocol, self._process.stdin)
        self._reading = loop.create_task(self._read(reader), name=f"replies of {self.pid}")

    def send(
        self, op: str, values: dict[str, Any], blobs: Sequence[bytes] = (), on_preview: OnPreview | None = None
    ) -> "tuple[int, asyncio.Future[Frame]]":
        """Send a request. Return its id, and its reply as a future, which raises ProcessEnded.

        Raises FrameError for one that is too large.
        """
        number = next(self._numbers)
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        if self.has_ended.is_set() or self._writer is None:
            answer.set_exception(ProcessEnded(computing=False))
            return number, answer
        content = pack({"id": number, "op": op, **values}, blobs)  # before the rest: what was not sent has no answer
        self._asked[number] = _Asked(answer, on_preview)
        self._writer.write(content)
        return number, answer

    async def ask(self, op: str, values: dict[str, Any], blobs: Sequence[bytes] = ()) -> Frame:
        """Send a request and wait for its reply. Raises ProcessEnded."""
        return await self.send(op, values, blobs)[1]

    def cancel(self, number: int) -> None:
        """Tell the process that nobody waits for a request. It still answers."""
        if number in self._asked and self._writer is not None:
            self._writer.write(pack({"id": number, "op": "cancel"}))

    def kill(self) -> None:
        """End the process at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Close its standard input, wait for its end, and kill it if that takes too long."""
        if self._writer is not None:
            self._writer.close()
        elif self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.to_thread(self._process.wait, END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            await asyncio.to_thread(self._process.wait)
        if self._reading is not None:
            await self._reading

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                header, lengths = parse_header(
                    await reader.readexactly(header_bytes(await reader.readexactly(PREFIX_BYTES)))
                )
                frame = Frame(header, [await reader.readexactly(length) for length in lengths])
                self._deliver(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except FrameError as error:  # what follows cannot be understood either
            log.error("the model process %d: %s", self.pid, error)
            self.kill()
        except Exception:  # of ours; the replies that follow would have no reader
            log.exception("a reply of the model process %d", self.pid)
            self.kill()
        finally:
            self.has_ended.set()
            if self._writer is not None:
                self._writer.close()
            for asked in self._asked.values():
                if not asked.answer.done():
                    asked.answer.set_exception(ProcessEnded(computing=asked.begun))
            self._asked.clear()

    def _deliver(self, frame: Frame) -> None:
        asked = self._asked.get(frame.header.get("id", 0))
        if asked is None:
            return
        if "begun" in frame.header:
            asked.begun = True
            return
        if "preview" in frame.header:
            if asked.on_preview is not None:
                asked.on_preview(frame)
            return
        del self._asked[frame.header["id"]]
        if not asked.answer.done():
            asked.answer.set_result(frame)

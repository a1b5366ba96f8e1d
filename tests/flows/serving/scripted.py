"""A process that speaks frames like tasks/serve.py but holds no model, and a dispatcher of such processes."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.serving.dispatcher import Dispatcher
from flows.serving.generation import Generation
from flows.serving.jobs import Job, JobQueue
from flows.serving.model_process import ModelProcess

# `held` answers with the keys of the loaded models; `wait` computes until the process is killed; `draw` gives an image
# of one pixel for each drawing, its seed, unless one of them has a fault, and says how many threads it was given.
SCRIPT = """
import sys, time
from genai_core.serving.frames import PROTOCOL, pack, read_frame

held = []

def send(header, blobs=()):
    sys.stdout.buffer.write(pack(header, blobs))
    sys.stdout.buffer.flush()

while (frame := read_frame(sys.stdin.buffer)) is not None:
    op, key = frame.header["op"], frame.header.get("model")
    send({"id": frame.header["id"], "begun": True})
    reply, blobs = {"id": frame.header["id"], "ok": True, "ms": 1.0}, []
    if op == "load":
        held.append(key)
        reply |= {"model": {"sha256": "a" * 64}, "device": "cpu", "threads": 1, "protocol": PROTOCOL}
    elif op == "unload":
        held = [other for other in held if other != key]
    elif op == "held":
        reply |= {"held": held}
    elif op == "wait":
        time.sleep(60)
    elif op == "preview":
        reply |= {"preview": {}}
    elif op == "draw" and any(drawing.get("fault") for drawing in frame.header["drawings"]):
        reply |= {"ok": False, "kind": "input", "message": "damaged", "param": "start"}
    elif op == "draw":
        seeds = [drawing["seed"] for drawing in frame.header["drawings"]]
        reply |= {"shape": [len(seeds), 1, 1, 1], "threads": frame.header["threads"]}
        blobs = [bytes(seeds)]
    send(reply, blobs)
"""


def start_scripted() -> ModelProcess:
    command = [sys.executable, "-c", SCRIPT]
    folder = Path(__file__).parents[3]
    return ModelProcess(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder))


def generation(name: str) -> Generation:
    return Generation(name, f"{name} 1", Path(name), None, None)


@dataclass
class Device:
    """A dispatcher, its queue, and every process that it started, in order."""

    queue: JobQueue = field(default_factory=lambda: JobQueue(64))
    started: list[ModelProcess] = field(default_factory=list)
    before_start: Callable[[], None] = lambda: None
    lay_out: Callable[[Generation], None] = lambda _: None
    is_any_up: Callable[[], bool] = lambda: False

    @asynccontextmanager
    async def opened(self, *generations: Generation) -> AsyncIterator[Dispatcher]:
        dispatcher = Dispatcher(
            self.queue, self._first(), self._start, 32, lambda *_: None, self.lay_out, self.is_any_up
        )
        try:
            await dispatcher.open(generations)
            yield dispatcher
        finally:
            await dispatcher.close()

    def job(self, model: Generation, op: str = "held") -> Job:
        """A job in the queue."""
        job = Job(op, model, {})
        self.queue.put(job)
        return job

    def _first(self) -> ModelProcess:
        self.started.append(start_scripted())
        return self.started[-1]

    def _start(self) -> ModelProcess:
        self.before_start()
        return self._first()

"""The loop of the process that holds models: take a request, run its operation, answer."""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from genai_core.drawing.board import Cancelled
from genai_core.serving.frames import PROTOCOL, Frame
from tasks.serving.channel import Channel
from tasks.serving.describe import describe
from tasks.serving.draw import Pixels, draw, encode
from tasks.serving.errors import InputFault, ModelFault
from tasks.serving.explore import explain, nearest
from tasks.serving.models import Models
from tasks.serving.threads import Threads


@dataclass(frozen=True)
class Reply:
    """What an operation answers: JSON values and binary parts."""

    values: dict[str, Any]
    blobs: Sequence[bytes] = ()


Operation = Callable[[Models, Frame, Channel], Reply]


def work(channel: Channel, device: str) -> None:
    """Answer requests until the channel ends: on a processor several at a time, on a GPU one."""
    threads = Threads(torch.get_num_threads())
    on_gpu = device.startswith("cuda")
    models = Models(device, 1 if on_gpu else threads.count)
    for frame in channel:
        one, op = partial(answer, models, frame, channel), frame.header["op"]
        if op == "load":  # others go on drawing while a new version is read
            threading.Thread(target=one, name="load", daemon=True).start()
        else:  # what does not say how many it takes, such as `unload`, waits until nothing else runs
            wanted = threads.count if on_gpu else frame.header.get("threads", threads.count)
            threads.run(one, min(wanted, threads.count))
    threads.end()


def answer(models: Models, frame: Frame, channel: Channel) -> None:
    """Say that a request has begun, run its operation, and send its reply."""
    request = frame.header["id"]
    try:
        channel.reply(request, {"begun": True})
        begun = time.perf_counter()
        reply = OPERATIONS[frame.header["op"]](models, frame, channel)
        ms = round(1000 * (time.perf_counter() - begun), 3)
        channel.reply(request, {"ok": True, "ms": ms, **memory(models.device), **reply.values}, reply.blobs)
    except Exception as error:
        channel.reply(request, refusal(error))
    finally:
        channel.done(request)


def refusal(error: Exception) -> dict[str, Any]:
    """Return the answer to a request that failed. An internal error keeps its traceback in the log."""
    if isinstance(error, InputFault):
        return {"ok": False, "kind": "input", "message": str(error), "param": error.param}
    if isinstance(error, ModelFault):
        print(f"tasks.serve: {error}", file=sys.stderr, flush=True)
        return {"ok": False, "kind": "model", "message": str(error), "code": error.code}
    if isinstance(error, Cancelled):
        return {"ok": False, "kind": "cancelled", "message": "cancelled"}
    traceback.print_exception(error, file=sys.stderr)
    return {"ok": False, "kind": "internal", "message": f"{type(error).__name__}: {error}"}


def use_device(name: str, threads: int | None) -> str:
    """Choose the device and prepare torch for it. Raises ValueError for a device that is not there."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ValueError(f"device: got {name!r}; expected auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: got {name!r}, but torch sees no CUDA device; use auto or cpu")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise ValueError(f"device: got {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices")
    if threads is not None:
        torch.set_num_threads(threads)
    return device


def memory(device: str) -> dict[str, Any]:
    """Return the bytes of GPU memory that torch holds and has reserved; nothing on a processor."""
    if not device.startswith("cuda"):
        return {}
    return {"gpu": {"allocated": torch.cuda.memory_allocated(device), "reserved": torch.cuda.memory_reserved(device)}}


def _load(models: Models, frame: Frame, _channel: Channel) -> Reply:
    values = frame.header
    model = models.load(values["model"], Path(values["folder"]), values.get("sha256"))
    facts = {"device": models.device, "threads": models.threads, "protocol": PROTOCOL}
    return Reply({"model": describe(model), **facts})


def _unload(models: Models, frame: Frame, _channel: Channel) -> Reply:
    models.unload(frame.header["model"])
    return Reply({})


def _draw(models: Models, frame: Frame, channel: Channel) -> Reply:
    request = frame.header["id"]

    def show(images: Pixels) -> None:
        channel.reply(request, {"preview": True, "shape": list(images.shape)}, [images.tobytes()])

    model = models.get(frame.header["model"])
    drawn = draw(model, frame, on_preview=show, cancelled=lambda: channel.is_cancelled(request))
    return Reply({"shape": list(drawn.pixels.shape)}, drawn.blobs)


def _encode(models: Models, frame: Frame, _channel: Channel) -> Reply:
    return Reply(*encode(models.get(frame.header["model"]), frame))


def _nearest(models: Models, frame: Frame, channel: Channel) -> Reply:
    _check_wanted(frame, channel)
    return Reply(*nearest(frame, models.device))


def _explain(models: Models, frame: Frame, channel: Channel) -> Reply:
    _check_wanted(frame, channel)
    return Reply(*explain(frame, models.device))


def _check_wanted(frame: Frame, channel: Channel) -> None:
    if channel.is_cancelled(frame.header["id"]):
        raise Cancelled("cancelled before it began")


OPERATIONS: dict[str, Operation] = {
    "load": _load,
    "unload": _unload,
    "draw": _draw,
    "encode": _encode,
    "nearest": _nearest,
    "explain": _explain,
}

"""The worker's end of the pipe to the server: requests in, replies out, cancellations on the way."""

import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from genai_core.serving.frames import Frame, FrameError, pack, read_frame

# How long the operation that is running may take to notice that the server has gone.
END_AFTER_S = 5.0


class Channel:
    """Requests in order of arrival. A thread reads them, so a cancellation is seen while an operation runs."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests, self._replies = requests, replies
        self._waiting: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._writing = threading.Lock()
        self._cancelled: set[int] = set()
        self._pending: set[int] = set()
        self._changing = threading.Lock()
        self._ended = threading.Event()

    @classmethod
    def of_standard_streams(cls) -> "Channel":
        """Take over standard input and output. What this process prints goes to standard error from now on."""
        replies = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        return cls(sys.stdin.buffer, replies)

    def __iter__(self) -> Iterator[Frame]:
        """Yield requests until the server closes the pipe. Call `done` with each when it has been answered."""
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        while (frame := self._waiting.get()) is not None:
            yield frame

    def done(self, request: int) -> None:
        """Forget a request: a cancellation that comes now is too late."""
        with self._changing:
            self._pending.discard(request)
            self._cancelled.discard(request)

    def is_cancelled(self, request: int) -> bool:
        """Whether nobody waits for this request any more: it was cancelled, or the server has gone."""
        return request in self._cancelled or self._ended.is_set()

    def reply(self, request: int, values: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Send a reply, whole, whichever thread sends it. Raises FrameError, with nothing sent, if it is too large."""
        content = memoryview(pack({"id": request, **values}, blobs))
        with self._writing:
            while content:  # a raw stream may write a part
                content = content[self._replies.write(content) :]

    def _read(self) -> None:
        try:
            while (frame := read_frame(self._requests)) is not None:
                if frame.header["op"] == "cancel":
                    self._cancel(frame.header["id"])
                    continue
                with self._changing:
                    self._pending.add(frame.header["id"])
                self._waiting.put(frame)
        except FrameError as error:
            print(f"tasks.serve: {error}", file=sys.stderr, flush=True)
        self._ended.set()
        self._waiting.put(None)
        time.sleep(END_AFTER_S)
        os._exit(1)

    def _cancel(self, request: int) -> None:
        with self._changing:
            if request in self._pending:  # else it has ended already
                self._cancelled.add(request)

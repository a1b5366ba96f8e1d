"""Requests that cannot be sent, at the server's end of the pipe."""

import asyncio
import gc
from typing import Any

import pytest

from genai_core.serving import frames
from genai_core.serving.frames import FrameError
from tests.flows.serving.scripted import start_scripted


def test_a_request_too_large_to_be_sent_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody waits for would get an exception when the process ends."""
    problems: list[dict[str, Any]] = []

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        process = start_scripted()
        await process.connect()
        with monkeypatch.context() as patch:
            patch.setattr(frames, "MAX_BLOB_BYTES", 1)
            with pytest.raises(FrameError, match="too large"):
                process.send("draw", {}, [b"two"])
        assert (await process.ask("held", {})).header["held"] == []
        await process.end()
        gc.collect()

    asyncio.run(story())
    assert problems == []

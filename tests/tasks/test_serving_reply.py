"""The loop of the process that holds models goes on whatever a request brings."""

import io

import pytest

from genai_core.serving import frames
from genai_core.serving.frames import pack, read_frame
from tasks.serving import worker
from tasks.serving.channel import Channel
from tasks.serving.models import Models


def test_a_reply_too_large_for_a_frame_is_an_error_of_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_bytes(*_: object) -> worker.Reply:
        return worker.Reply({}, [b"12"])

    def nothing(*_: object) -> worker.Reply:
        return worker.Reply({})

    monkeypatch.setattr(worker, "OPERATIONS", {"large": two_bytes, "small": nothing})
    monkeypatch.setattr(frames, "MAX_BLOB_BYTES", 1)
    requests = io.BytesIO(pack({"id": 1, "op": "large"}) + pack({"id": 2, "op": "small"}))
    replies = io.BytesIO()
    models = Models("cpu", 1)
    for frame in iter(lambda: read_frame(requests), None):
        worker.answer(models, frame, Channel(requests, replies))
    replies.seek(0)
    found = [found.header for found in iter(lambda: read_frame(replies), None) if "ok" in found.header]
    assert [(header["id"], header["ok"]) for header in found] == [(1, False), (2, True)]
    assert found[0]["kind"] == "internal"
    assert "too large" in found[0]["message"]

"""The loop of the process that holds models goes on whatever a request brings."""

import io

import pytest

from genai_core.drawing.description import DrawingError
from genai_core.model import ModelError
from genai_core.models.protocol import SamplingError
from genai_core.serving import frames
from genai_core.serving.frames import pack, read_frame
from tasks.serving import worker
from tasks.serving.channel import Channel
from tasks.serving.draw import faults
from tasks.serving.errors import InputFault
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


@pytest.mark.parametrize(
    ("error", "param"),
    [(ModelError("no option"), "sampling"), (SamplingError("guidance"), "sampling"), (DrawingError("shape"), "image")],
)
def test_what_the_library_refuses_is_the_clients_fault(error: Exception, param: str) -> None:
    with pytest.raises(InputFault, match=str(error)) as caught, faults("image"):
        raise error
    assert caught.value.param == param


def test_other_errors_are_ours() -> None:
    with pytest.raises(ValueError, match="a fault of numpy"), faults("image"):
        raise ValueError("a fault of numpy")

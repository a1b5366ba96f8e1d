"""Messages between server and model process."""

import io

import pytest

from genai_core.serving.frames import Frame, FrameError, pack, read_frame


def test_a_frame_returns_as_it_was() -> None:
    stream = io.BytesIO(pack({"id": 1, "name": "ü"}, [b"", b"\0\xff"]) + pack({"id": 2}))
    assert read_frame(stream) == Frame({"id": 1, "name": "ü"}, [b"", b"\0\xff"])
    assert read_frame(stream) == Frame({"id": 2}, [])
    assert read_frame(stream) is None


@pytest.mark.parametrize("length", [1, 4, 6, 20, -1])
def test_a_stream_that_ends_within_a_frame(length: int) -> None:
    with pytest.raises(FrameError, match="ended within a frame"):
        read_frame(io.BytesIO(pack({"id": 1}, [b"abc"])[:length]))


@pytest.mark.parametrize(
    "content",
    [
        b"Hello world",  # text on the pipe: its first letters are a huge length
        b"\0\0\0\x02{}",
        b"\0\0\0\x02[]",
        b"\0\0\0\x0e" + b'{"blobs":[-1]}',
        b"\0\0\0\x0f" + b'{"blobs": [1.5]}'[:15],
        b"\0\0\0\x00",
        b"\0\0\0\x04\xff\xff\xff\xff",
    ],
)
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(content))


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        pack({"ms": float("nan")})

"""Frames of videos; needs the extra `video`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genai_core.data.ingest.convert.frame import Frame, NotConvertedError, check_size
from genai_core.data.ingest.extras import import_extra

# By extension, FFmpeg's name of the container. FFmpeg would guess it, and open a playlist of other files and addresses.
_CONTAINERS = {
    **dict.fromkeys((".mp4", ".mov", ".m4v"), "mov"),
    **dict.fromkeys((".mkv", ".webm"), "matroska"),
    **dict.fromkeys((".mpg", ".mpeg"), "mpeg"),
    ".avi": "avi",
}
VIDEO_EXTENSIONS = tuple(_CONTAINERS)


def video_frames(path: Path, every: int) -> Iterator[Frame]:
    """Yield each `every`-th frame, upright, from the first. Raises NotConvertedError for a file without a frame.

    Frames before a damaged one are kept.
    """
    av = import_extra("av", "video", "videos")
    found = False
    try:
        # As an open file, it cannot lead FFmpeg to others.
        with path.open("rb") as file, av.open(file, format=_CONTAINERS[path.suffix.lower()]) as container:
            if not container.streams.video:
                raise NotConvertedError("no_image", "a file without a video")
            stream = container.streams.video[0]
            check_size(stream.width, stream.height)
            for number, frame in enumerate(container.decode(stream)):
                if number % every == 0:
                    # Phones store the picture as the sensor has it, and how far to turn it anticlockwise.
                    pixels = np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90))
                    yield Frame(number, np.ascontiguousarray(pixels))
                    found = True
    except av.FFmpegError as error:
        if not found:
            raise NotConvertedError("corrupt", f"not a readable video ({error.strerror})") from None
    if not found:
        raise NotConvertedError("no_image", "a video without a frame")

"""Replace the files of a reading that are no images in themselves by the images in them."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from genai_core.counted import counted
from genai_core.data.ingest.convert.animation import ANIMATION_EXTENSIONS, animation_frames
from genai_core.data.ingest.convert.dicom import DICOM_EXTENSIONS, dicom_frames
from genai_core.data.ingest.convert.frame import Frame, NotConvertedError
from genai_core.data.ingest.convert.heif import HEIF_EXTENSIONS, heif_frames
from genai_core.data.ingest.convert.kinds import CONVERTED_EXTENSIONS, advice
from genai_core.data.ingest.convert.video import VIDEO_EXTENSIONS, video_frames
from genai_core.data.ingest.extras import MissingExtraError
from genai_core.data.ingest.readers.items import Item, Reading
from genai_core.data.raw.formats import RejectedFile


def with_converted(reading: Reading, every: int | None) -> Reading:
    """Convert the HEIC, DICOM and video files of a reading to PNG, each frame an image of its own.

    every: take each such frame of videos, animations and DICOM files. Without it, videos are skipped, of an animation
    the first frame is used, and all frames of a DICOM file are. What is skipped is counted, and a note says what to do.
    """
    _Converter(reading, every).start()
    return reading


def holds_frames(name: str, every: int | None) -> bool:
    """Whether a single file may be a source: one that is converted, or an animation of which frames are taken."""
    extension = PurePosixPath(name).suffix.lower()
    return extension in CONVERTED_EXTENSIONS or (every is not None and extension in ANIMATION_EXTENSIONS)


class _Converter:
    def __init__(self, reading: Reading, every: int | None) -> None:
        self._reading = reading
        self._items = reading.items
        self._every = every
        self._converted: Counter[str] = Counter()
        self._skipped: dict[str, str] = {}  # kind -> what to do
        self._warnings: Counter[str] = Counter()

    def start(self) -> None:
        self._reading.items = self._all()

    def _all(self) -> Iterator[Item]:
        for item in self._items:
            extension = os.path.splitext(item.path)[1].lower()  # noqa: PTH122 - a tenth of PurePath.suffix's time
            is_file = isinstance(item.content, Path)
            if is_file and extension in CONVERTED_EXTENSIONS:
                yield from self._frames(item, extension)
            elif is_file and self._every and extension in ANIMATION_EXTENSIONS:
                yield from self._animation(item, self._every, extension)
            else:
                yield item
        self._finish()

    def _frames(self, item: Item, extension: str) -> Iterator[Item]:
        kind = f"{extension} files"
        if extension in VIDEO_EXTENSIONS and self._every is None:
            self._skip(kind, "videos; to take every 30th frame: --every 30")
            return
        try:
            for frame in self._read(item, extension):
                self._converted[kind] += 1
                yield replace(item, path=frame.name(item.path), content=frame.pixels)
        except MissingExtraError as error:
            self._skip(kind, str(error))
        except NotConvertedError as error:
            self._reading.rejected.append(RejectedFile(item.path, error.reason, str(error)))

    def _read(self, item: Item, extension: str) -> Iterator[Frame]:
        assert isinstance(item.content, Path)
        if extension in HEIF_EXTENSIONS:
            return heif_frames(item.content)
        if extension in DICOM_EXTENSIONS:
            return dicom_frames(item.content, self._every, lambda text: self._warnings.update([text]))
        assert extension in VIDEO_EXTENSIONS and self._every is not None  # noqa: PT018
        return video_frames(item.content, self._every)

    def _animation(self, item: Item, every: int, extension: str) -> Iterator[Item]:
        assert isinstance(item.content, Path)
        is_still = True
        try:
            for frame in animation_frames(item.content, every):
                is_still = False
                self._converted[f"{extension} files"] += 1
                yield replace(item, path=frame.name(item.path), content=frame.pixels)
        except NotConvertedError as error:
            self._reading.rejected.append(RejectedFile(item.path, error.reason, str(error)))
            return
        if is_still:
            yield item

    def _skip(self, kind: str, what_to_do: str) -> None:
        self._skipped[kind] = what_to_do
        self._reading.skipped[kind] = self._reading.skipped.get(kind, 0) + 1

    def _finish(self) -> None:
        notes = self._reading.notes
        notes += [
            f"{counted(count, 'image')} converted to PNG from {kind}" for kind, count in sorted(self._converted.items())
        ]
        notes += [
            f"{counted(self._reading.skipped[kind], kind[:-1])} skipped: {what}"
            for kind, what in sorted(self._skipped.items())
        ]
        notes += [f"{counted(count, 'file')}: {text}" for text, count in sorted(self._warnings.items())]
        notes += advice(self._reading.skipped)

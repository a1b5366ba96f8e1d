"""Jobs that are computed together: one request to the process, and each job's part of its reply."""

from collections.abc import Sequence
from typing import Any

from flows.serving.errors import ApiError
from flows.serving.jobs import Answer, Job, Preview
from genai_core.serving.frames import Frame

# Values of a drawing that are numbers of binary parts, at any depth.
PARTS = ("noise", "start", "mask")


def combined(jobs: Sequence[Job]) -> tuple[dict[str, Any], list[bytes]]:
    """Return one request for all jobs: their drawings in order, with the numbers of binary parts moved."""
    if len(jobs) == 1:
        return jobs[0].values, list(jobs[0].blobs)
    drawings: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for job in jobs:
        drawings += [_moved(drawing, len(blobs)) for drawing in job.values["drawings"]]
        blobs += job.blobs
    previews = any(job.values.get("previews") for job in jobs)
    return {**jobs[0].values, "drawings": drawings, "previews": previews}, blobs


def _moved(value: Any, by: int) -> Any:
    if isinstance(value, dict):
        return {
            name: part + by if name in PARTS and part is not None else _moved(part, by) for name, part in value.items()
        }
    return [_moved(part, by) for part in value] if isinstance(value, list) else value


def _shares(jobs: Sequence[Job], frame: Frame) -> list[tuple[Job, tuple[int, ...], list[bytes]]]:
    """Return each job's part of a frame of images: its shape (N, C, H, W), and its share of each binary part."""
    total, *image = frame.header["shape"]
    begin, parts = 0, []
    for job in jobs:
        end = begin + job.images
        shares = [blob[begin * len(blob) // total : end * len(blob) // total] for blob in frame.blobs]
        parts.append((job, (job.images, *image), shares))
        begin = end
    return parts


def hand_out(jobs: Sequence[Job], frame: Frame) -> None:
    """Answer each job with its part of the reply; not those that nobody waits for."""
    ms, images = frame.header["ms"], sum(job.images for job in jobs)
    if len(jobs) == 1:
        shares = [(jobs[0], frame.header, frame.blobs)]
    else:
        shares = [(job, {**frame.header, "shape": list(shape)}, part) for job, shape, part in _shares(jobs, frame)]
    for job, values, blobs in shares:
        if not job.answer.done():
            job.answer.set_result(Answer(values, blobs, ms, images))


def show(jobs: Sequence[Job], frame: Frame) -> None:
    """Pass each job its part of a preview."""
    for job, shape, (pixels,) in _shares(jobs, frame):
        if job.on_preview is not None and not job.answer.done():
            job.on_preview(Preview(shape, pixels))


def refuse(jobs: Sequence[Job], error: ApiError) -> None:
    """Answer all jobs with an error."""
    for job in jobs:
        if not job.answer.done():
            job.answer.set_exception(error)


def error_of(header: dict[str, Any]) -> ApiError:
    """Return the API's error for a reply that is one."""
    if header["kind"] == "input":
        return ApiError(422, header["message"], param=header.get("param"), code="invalid_value")
    if header["kind"] == "model":
        what = "the real images" if header["code"] == "no_real_images" else "the model"
        return ApiError(503, f"{what} cannot be used; see the server's log", code=header["code"])
    if header["kind"] == "cancelled":
        return ApiError(503, "cancelled", code="cancelled")
    return ApiError(500, "internal error; see the server's log", code="internal")

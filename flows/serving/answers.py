"""From pixels to the images of an answer."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flows.serving.drawing import Plan
from flows.serving.jobs import Answer, Preview
from flows.serving.pictures import MIME, check_pixels, check_provenance, encoded
from flows.serving.provenance import class_of, provenance

# Eight images of 32x32 are coded in 0.3 ms. A thread would cost 0.06 ms more, and milliseconds until it gets its turn.
FEW_PIXELS = 8 * 32**2


@dataclass(frozen=True)
class Form:
    """In which form images are returned: "png", "jpeg" or "webp", enlarged by a whole factor."""

    name: str
    factor: int

    @property
    def mime(self) -> str:
        return MIME[self.name]


def check_answer(plan: Plan, form: Form) -> None:
    """Raise ApiError if the images cannot be returned in this form. Before they are drawn."""
    check_pixels(len(plan.wanted), plan.model.description["image_size"], form.factor)
    if form.name == "jpeg":
        for image in plan.wanted:
            check_provenance(form.name, provenance(plan, image))


def is_quick(answer: Answer, form: Form) -> bool:
    """Whether `images_of` is too short to be worth a thread."""
    images, _, height, width = answer.values["shape"]
    return form.name == "png" and images * height * width * form.factor**2 <= FEW_PIXELS


def images_of(plan: Plan, answer: Answer, form: Form) -> Iterator[dict[str, Any]]:
    """Yield the images of an answer as JSON values. Each takes a tenth of a millisecond for 32x32 pixels."""
    shape, pixels = answer.values["shape"], answer.blobs[0]
    latents = answer.blobs[1] if len(answer.blobs) > 1 else b""
    files = zip(plan.wanted, _parts(pixels, len(plan.wanted)), _parts(latents, len(plan.wanted)), strict=True)
    for image, content, latent in files:
        origin = provenance(plan, image)
        file = encoded(content, shape[1:], form.name, form.factor, origin)
        values = {
            "b64": base64.b64encode(file).decode(),
            "mime": form.mime,
            "seed": image.seed,
            "class": class_of(plan, image),
            "provenance": origin,
        }
        if "walk" in image.values or "noise" in image.values or "directions" in image.values:
            values["latent"] = base64.b64encode(latent).decode()
        yield values


def previews_of(preview: Preview, form: Form) -> Iterator[str]:
    """Yield a preview's images as files in base64, without provenance."""
    for part in _parts(preview.pixels, preview.shape[0]):
        yield base64.b64encode(encoded(part, preview.shape[1:], form.name, form.factor, None)).decode()


def _parts(content: bytes, count: int) -> list[bytes]:
    size = len(content) // count
    return [content[index * size : (index + 1) * size] for index in range(count)]

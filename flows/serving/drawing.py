"""From the body of a request to a job: one drawing per image, and the binary parts that they name."""

import base64
import binascii
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.serving.bodies import DEFAULT_STRENGTH, DrawBody, Point, Walk
from flows.serving.conditions import checked_sampling, labels_of, seeds_of, shares_of
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.jobs import Job, Preview
from flows.serving.uploads import MAX_MEGAPIXELS, mask_of, uploaded


@dataclass(frozen=True)
class Wanted:
    """One image of a request.

    seed: None where the noise comes from elsewhere. label: index into the model's classes; mix: share of each class;
    both None without classes. values: what the process gets (tasks/serving/draw.py). origin: what else the image was
    drawn from, for its provenance.
    """

    seed: int | None
    label: int | None
    mix: Mapping[str, float] | None
    values: dict[str, Any]
    origin: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A request that has been checked: its images, the options that it changes, and the binary parts."""

    model: Generation
    wanted: list[Wanted]
    sampling: dict[str, Any]
    blobs: list[bytes] = field(default_factory=list)

    def job(self, on_preview: Callable[[Preview], None] | None = None) -> Job:
        """Return the job that draws it. Jobs with equal options may share a batch."""
        return Job(
            op="draw",
            model=self.model,
            values={
                "decoding": decoding_of(self.model),
                "sampling": self.sampling,
                "drawings": [image.values for image in self.wanted],
                "previews": on_preview is not None,
            },
            blobs=self.blobs,
            images=len(self.wanted),
            key=f"{self.model.key} {json.dumps(self.sampling, sort_keys=True)}",
            on_preview=on_preview,
        )


def decoding_of(model: Generation) -> dict[str, Any]:
    """Return the rule by which pictures for a model are decoded: that of its training images, if it is known."""
    known = {"fit": "crop", "background": [0, 0, 0]} if model.real_data is None else model.real_data.decoding
    return {"max_megapixels": MAX_MEGAPIXELS, **known}


def plan_of_classes(
    model: Generation, count: int, seed: int | None, class_name: str | None, param: str = "class"
) -> Plan:
    """Plan images of a class, or of each in turn, with consecutive seeds. Raises ApiError."""
    seeds, labels = seeds_of(count, seed, None), labels_of(model, count, class_name, param)
    wanted = [
        Wanted(seed, label, None, {"seed": seed, "label": label}, {}) for seed, label in zip(seeds, labels, strict=True)
    ]
    return Plan(model, wanted, {})


def plan_of(model: Generation, body: DrawBody, directions_folder: Path | None = None) -> Plan:
    """Check a body's values against the model. Decodes base64, so call it in a thread. Raises ApiError.

    Call check_abilities first. directions_folder: of the model's directions, if the body names some; they have been
    checked.
    """
    blobs: list[bytes] = []
    noises = _noises(model, body, blobs)
    mix = None if body.mix is None else shares_of(model, body.mix)
    name = body.class_name
    if body.walk is not None and name is None and model.description["classes"]:
        name = model.description["classes"][0]  # a walk through several classes would show two things at once
    labels = [None] * len(noises) if mix is not None else labels_of(model, len(noises), name)
    shared, origin = _shared(model, body, mix, blobs)
    moves = [_moves(body, index, directions_folder) for index in range(len(noises))]
    wanted = [
        Wanted(
            seed=noise.seed if noise.is_seed else None,
            label=label,
            mix=mix,
            values={"seed": noise.seed, "label": label, **noise.values, **shared, **move},
            origin={**noise.origin, **origin, **({"directions": move["directions"]["amounts"]} if move else {})},
        )
        for noise, label, move in zip(noises, labels, moves, strict=True)
    ]
    return Plan(model, wanted, checked_sampling(model, body.sampling), blobs)


def check_abilities(model: Generation, body: DrawBody) -> None:
    """Raise ApiError unless the model can do all that a body asks for. Quick, so before a search for directions."""
    can = model.description["can"]
    for name, value in (
        ("mix", body.mix),
        ("start", body.start),
        ("mask", body.mask),
        ("walk", body.walk),
        ("latent", body.latent),
        ("base", body.base),
        ("directions", body.directions or None),
    ):
        ability = "walk" if name in ("latent", "base", "directions") else name  # all four draw from given noise
        if value is not None and ability not in can:
            message = f"{name}: the model {model.name} cannot do this; it supports: {', '.join(can) or 'none of these'}"
            raise ApiError(422, message, param=name, code="not_possible")


@dataclass(frozen=True)
class _Noise:
    """Where an image's noise comes from. is_seed: the seed makes it; values and origin: as in Wanted."""

    seed: int = 0
    is_seed: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)


def _noises(model: Generation, body: DrawBody, blobs: list[bytes]) -> list[_Noise]:
    """Return where each image's noise comes from: its seed, a latent, or between points."""
    if body.walk is not None:
        points = [_point(model, point, f"walk.points.{index}", blobs) for index, point in enumerate(body.walk.points)]
        return [
            _Noise(
                values={"walk": {"points": points, "shares": shares}},
                origin={"walk": {"points": _named(body.walk.points), "shares": shares}},
            )
            for shares in walk_shares(body.walk)
        ]
    if body.latent is not None:
        values = {"noise": _stored(_latent(model, body.latent, "latent"), blobs)}
        return [_Noise(values=values, origin={"latent": True})] * body.count
    seeds = seeds_of(body.images, body.seed, body.seeds)
    if body.base is not None:
        base, reach = _point(model, body.base, "base", blobs), 1.0 if body.reach is None else body.reach
        origin = {"base": _named([body.base])[0], "reach": reach}
        return [
            _Noise(seed, True, {"walk": {"points": [base, {"seed": seed}], "shares": [reach]}}, origin)
            for seed in seeds
        ]
    return [_Noise(seed, True) for seed in seeds]


def walk_shares(walk: Walk) -> list[list[float]]:
    """Return each image's place: [share] of the way between two points, or [across, down] in the square of four."""
    count = walk.rows * walk.columns
    if len(walk.points) == 2:
        return [[index / max(count - 1, 1)] for index in range(count)]
    return [
        [column / max(walk.columns - 1, 1), row / max(walk.rows - 1, 1)]
        for row in range(walk.rows)
        for column in range(walk.columns)
    ]


def _shared(
    model: Generation, body: DrawBody, mix: Mapping[str, float] | None, blobs: list[bytes]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what all images of a request have in common, for the process and for the provenance."""
    values: dict[str, Any] = {}
    origin: dict[str, Any] = {}
    if mix is not None:
        values["weights"] = [mix.get(name, 0.0) for name in model.description["classes"]]
    if body.start is not None:
        strength = DEFAULT_STRENGTH if body.strength is None else body.strength
        values |= {"start": _stored(uploaded(body.start, "start"), blobs), "strength": strength}
        origin |= {"start": True, "strength": strength}
    if body.mask is not None:
        values["mask"] = _stored(mask_of(body.mask, model.description["image_size"]), blobs)
        origin["mask"] = True
    return values, origin


def _moves(body: DrawBody, index: int, folder: Path | None) -> dict[str, Any]:
    """Return how far an image moves along each direction, for the process."""
    if folder is None:
        return {}
    amounts = {direction.name: direction.amounts[index % len(direction.amounts)] for direction in body.directions}
    return {"directions": {"folder": str(folder), "amounts": amounts}}


def _point(model: Generation, point: Point, param: str, blobs: list[bytes]) -> dict[str, int]:
    if point.seed is not None:
        return {"seed": point.seed}
    assert point.latent is not None
    return {"noise": _stored(_latent(model, point.latent, f"{param}.latent"), blobs)}


def _named(points: Sequence[Point]) -> list[Any]:
    return ["latent" if point.seed is None else point.seed for point in points]


def _latent(model: Generation, text: str, param: str) -> bytes:
    shape = model.description["noise_shape"]
    expected = 4 * math.prod(shape)
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(422, f"{param}: not base64", param=param, code="invalid_base64") from None
    if len(content) != expected:
        message = f"{param}: expected {expected} bytes, float32 of shape {shape}, got {len(content)}"
        raise ApiError(422, message, param=param, code="invalid_latent")
    if not all(math.isfinite(value) for (value,) in struct.iter_unpack("<f", content)):
        message = f"{param}: expected finite numbers, got NaN or infinity"
        raise ApiError(422, message, param=param, code="invalid_latent")
    return content


def _stored(content: bytes, blobs: list[bytes]) -> int:
    blobs.append(content)
    return len(blobs) - 1

"""Summary of the figures: one row per model, and a verdict in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Ratio to the floor below which the rounded figure is "1.0 times".
AS_CLOSE_AS_REAL = 1.05


@dataclass(frozen=True)
class ModelRow:
    """A row of the table of models. Figures that were not measured are None."""

    name: str
    family: str
    fd: float
    fd_over_floor: float | None
    inception_score: float | None
    label_agreement: float | None
    parameters: int
    training_s: float | None
    images_per_s: float | None
    is_candidate: bool
    same_protocol: bool  # whether its protocol is the candidate's


@dataclass(frozen=True)
class RealRow:
    """Figures of real, held-out images: the best that a model can reach."""

    kind: str  # kind of the extractor
    floor_fd: float
    floor_images: int
    inception_score: float | None
    test_accuracy: float | None  # None for a network that was not trained on the dataset


@dataclass(frozen=True)
class Summary:
    """All figures of the report, the verdict, and the warnings of the measurements: the models' names and a text."""

    rows: tuple[ModelRow, ...]
    real: RealRow
    protocol: dict[str, Any]
    verdict: str
    warnings: tuple[str, ...]

    @property
    def candidate(self) -> ModelRow:
        """Return the candidate's row."""
        return next(row for row in self.rows if row.is_candidate)


@dataclass(frozen=True)
class ReportedModel:
    """A model's name, its parsed metrics file, and the costs of its training and evaluation (parsed, or empty)."""

    name: str
    metrics: Mapping[str, Any]
    training_cost: Mapping[str, Any]
    evaluation_cost: Mapping[str, Any]


def summarise(models: Iterable[ReportedModel], candidate_sha256: str) -> Summary:
    """Summarise models in the given order; the candidate is the one whose weights have that sha256.

    Raises ValueError when no model has it: the figures are then from another run.
    """
    models = list(models)
    found = [model for model in models if model.metrics["model"]["sha256"] == candidate_sha256]
    if not found:
        raise ValueError(
            f"no metrics file is for the candidate's weights, {candidate_sha256[:12]}; run the stage candidate again"
        )
    # Take the last: a fine-tuned model without further training has the same weights as the model it started from.
    candidate = found[-1]
    protocol = dict(candidate.metrics["protocol"])
    kind = protocol["extractor"]
    real = RealRow(
        kind=kind,
        floor_fd=candidate.metrics[f"floor_fd_{kind}"],
        floor_images=protocol["floor_images"],
        inception_score=candidate.metrics.get(f"is_{kind}_real"),
        test_accuracy=protocol["extractor_test_accuracy"],
    )
    rows = tuple(_row(model, protocol, model is candidate) for model in models)
    verdict = _verdict(next(row for row in rows if row.is_candidate))
    return Summary(rows, real, protocol, verdict, _warnings(models))


def _warnings(models: Iterable[ReportedModel]) -> tuple[str, ...]:
    """Return each warning once, after the names of the models that it is about."""
    named: dict[str, list[str]] = {}
    for model in models:
        for warning in model.metrics.get("warnings", ()):  # absent from files that older code has written
            named.setdefault(warning, []).append(model.name)
    return tuple(f"{', '.join(names)}: {warning}" for warning, names in named.items())


def _row(model: ReportedModel, protocol: Mapping[str, Any], is_candidate: bool) -> ModelRow:
    metrics = model.metrics
    kind = metrics["protocol"]["extractor"]
    return ModelRow(
        name=model.name,
        family=metrics["model"]["family"],
        fd=metrics[f"fd_{kind}"],
        fd_over_floor=metrics.get(f"fd_{kind}_over_floor"),
        inception_score=metrics.get(f"is_{kind}"),
        label_agreement=metrics.get("label_agreement"),
        parameters=metrics["model"]["parameters"],
        training_s=model.training_cost.get("seconds"),
        images_per_s=model.evaluation_cost.get("images_per_second"),
        is_candidate=is_candidate,
        same_protocol=metrics["protocol"] == protocol,
    )


def _verdict(candidate: ModelRow) -> str:
    """Write one sentence: which model, how far from real images, and whether its classes are right."""
    times = candidate.fd_over_floor
    if times is None:
        distance = f"its images are at a Fréchet distance of {candidate.fd:.3g} from the training images"
    elif times >= AS_CLOSE_AS_REAL:
        distance = f"its images are {times:.1f} times as far from the training images as held-out real images"
    else:
        distance = "its images are as close to the training images as held-out real images"
    sentence = f"The candidate is {candidate.name}: {distance}"
    if candidate.label_agreement is None:
        return f"{sentence}."
    return f"{sentence}, and {candidate.label_agreement:.1%} of them show the requested class."

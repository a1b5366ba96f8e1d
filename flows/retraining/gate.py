"""May a candidate replace the champion? A plain function: figures in, a verdict that lists every rule out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from genai_core.config import GateConfig


@dataclass(frozen=True)
class Interval:
    """A paired difference, candidate minus champion, of a distance (smaller is better), with its confidence interval.

    Both drawn from the same seeds and measured on the same test images and resamples, so that what they share cancels.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelFigures:
    """What was measured of one model. None: not measured."""

    distance: float | None  # FD from the real images that gate.against names
    # Of which max_worse_share may be lost: FD from the training images, the most and so the least biased, or that
    # of held-out real images where that is larger: a model that is as near as these leaves nothing to take a share of.
    scale: float | None
    memorised_share: float | None  # of its images, nearer to a training image than real held-out ones are
    recall: float | None  # share of real images that lie where the model draws
    # Class -> share of its real images covered; without classes the same of groups of alike images.
    class_coverage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class GateFacts:
    """Candidate and champion, measured alike. champion and difference are None when there is none to compare with."""

    candidate: ModelFigures
    champion: ModelFigures | None
    difference: Interval | None
    same_protocol: bool  # test images, seeds and extractor were the same for both
    recall_of_real: float | None  # the recall of held-out real images: what a perfect model reaches
    classes: tuple[str, ...]  # of the dataset; empty: no labels
    device_hours: float | None  # that the candidate took
    label_accuracy: float | None = None  # of the classifier that both are measured with, on test images
    production_label_accuracy: float | None = None  # of the one that production was measured with when it was made
    alone: str = ""  # why production cannot be compared with: it draws other classes, or images of another size


@dataclass(frozen=True)
class Rule:
    """One rule of the gate: whether it was met, and the figures that say so."""

    name: str
    passed: bool
    figures: str


@dataclass(frozen=True)
class Verdict:
    """All rules, in their order. One that fails is enough."""

    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(f"{rule.name}: {rule.figures}" for rule in self.rules if not rule.passed)


def gate(facts: GateFacts, rules: GateConfig) -> Verdict:
    """Hold a candidate against every rule. Only finite figures count: what was not measured has not passed."""
    return Verdict(
        (
            _comparable(facts),
            _labels_hold(facts, rules.max_accuracy_drop),
            _not_worse(facts),
            _sharp_enough(facts, rules),
            _not_memorised(facts.candidate.memorised_share, rules.max_memorised_share),
            _not_collapsed(facts, rules.min_recall_share),
            _no_class_lost(facts, rules),
            _affordable(facts.device_hours, rules.max_device_hours),
        )
    )


def gate_facts(
    comparison: Mapping[str, Any], device_hours: float | None, production_label_accuracy: float | None = None
) -> GateFacts:
    """What is judged, from a comparison (docs/evaluation.md) and the hours that the candidate took."""
    values = comparison["gate"]
    champion, difference = values["champion"], values["difference"]
    return GateFacts(
        candidate=ModelFigures(**values["candidate"]),
        champion=ModelFigures(**champion) if champion else None,
        difference=Interval(**difference) if difference else None,
        same_protocol=values["same_protocol"],
        recall_of_real=values["recall_of_real"],
        classes=tuple(values["classes"]),
        device_hours=device_hours,
        label_accuracy=label_accuracy(comparison.get("protocol", {})),
        production_label_accuracy=production_label_accuracy,
        alone=values.get("alone", ""),
    )


def label_accuracy(protocol: Mapping[str, Any]) -> float | None:
    """How well the extractor tells the dataset's classes, from a protocol block; None: it did not learn them.

    A self-supervised network's accuracy is that of its own task, which has nothing to do with labels.
    """
    accuracy = protocol.get("extractor_test_accuracy") if protocol.get("extractor") == "classifier" else None
    return float(accuracy) if isinstance(accuracy, int | float) else None


def _comparable(facts: GateFacts) -> Rule:
    if facts.champion is None:
        return Rule("comparable", True, facts.alone or "nothing is in production to compare with")
    how = "the same" if facts.same_protocol else "not the same: measure both anew"
    return Rule("comparable", facts.same_protocol, f"test images, seeds and extractor of both are {how}")


def _labels_hold(facts: GateFacts, most: float) -> Rule:
    """Both are measured against the new data: where these are wrong, the model that imitates them looks better.

    Shuffled or wrong labels are what a classifier cannot learn, however well it did on the data before.
    """
    now, before = facts.label_accuracy, facts.production_label_accuracy
    if _is_finite(now) and _is_finite(before):
        figures = (
            f"test accuracy of the classifier {now:.3f}, with production's data {before:.3f}, may fall by {most:g}"
        )
        return Rule("labels hold", now >= before - most, figures)
    if not facts.classes:
        return Rule("labels hold", True, "the images have no labels")
    if facts.champion is None:
        return Rule("labels hold", True, facts.alone or "nothing is in production to compare with")
    if most >= 1:
        return Rule("labels hold", True, "not asked for: gate.max_accuracy_drop is 1")
    if _is_finite(now):
        missing = "how well a classifier learned production's labels is not known: metrics/finetuned.json of its commit"
    else:
        missing = "no classifier learned the new labels: extractor.kind: classifier makes one"
    return Rule("labels hold", False, f"not measured: {missing}; gate.max_accuracy_drop: 1 does without")


def _not_worse(facts: GateFacts) -> Rule:
    """Worse is a candidate whose whole interval lies above 0: then chance does not explain it."""
    if facts.champion is None:
        own = facts.candidate.distance
        return Rule("not worse", _is_finite(own), f"distance {_shown(own)}; there is no champion")
    pair = f"distance {_shown(facts.candidate.distance)} against {_shown(facts.champion.distance)}"
    difference = facts.difference
    if difference is None or not _all_finite(
        difference.value, difference.low, difference.high, facts.candidate.distance, facts.champion.distance
    ):
        return Rule("not worse", False, f"{pair}; their difference was not measured")
    span = f"difference {difference.value:+.4g}, between {difference.low:+.4g} and {difference.high:+.4g}"
    if difference.low > 0:
        return Rule("not worse", False, f"{pair}; {span}: worse than by chance")
    return Rule("not worse", True, f"{pair}; {span}: {'better' if difference.high < 0 else 'no worse than by chance'}")


def _sharp_enough(facts: GateFacts, rules: GateConfig) -> Rule:
    """An interval that is wide has 0 in it whatever the models are; then "no worse than by chance" says nothing."""
    if facts.champion is None:
        return Rule("sharp enough", True, "nothing is in production to compare with")
    difference, scale = facts.difference, facts.champion.scale
    if difference is None or not _all_finite(difference.low, difference.high) or not _is_finite(scale):
        return Rule("sharp enough", False, "the difference was not measured")
    if difference.high < 0:
        return Rule("sharp enough", True, "the candidate is better, however wide the interval")
    most = rules.max_worse_share * scale
    figures = f"at worst {difference.high:+.4g}, allowed {most:+.4g} ({rules.max_worse_share:.0%} of {scale:.4g})"
    if difference.high <= most:
        return Rule("sharp enough", True, figures)
    more = "; more images make it sharper: evaluation.total_images, data.test_share" if difference.low <= 0 else ""
    return Rule("sharp enough", False, figures + more)


def _not_memorised(share: float | None, most: float) -> Rule:
    if not _is_finite(share):
        return Rule("not memorised", False, "memorisation was not measured")
    return Rule("not memorised", share <= most, f"{share:.2%} of the images are memorised, allowed {most:.2%}")


def _not_collapsed(facts: GateFacts, least_share: float) -> Rule:
    recall, real = facts.candidate.recall, facts.recall_of_real
    if not _is_finite(recall) or not _is_finite(real):
        return Rule("not collapsed", False, "recall was not measured")
    least = least_share * real
    return Rule("not collapsed", recall >= least, f"recall {recall:.3f}, at least {least:.3f} (real images {real:.3f})")


def _no_class_lost(facts: GateFacts, rules: GateConfig) -> Rule:
    """Lost is what is hardly drawn, or much less than by production. Groups have no least share: some are odd ones."""
    own, before = facts.candidate.class_coverage, facts.champion.class_coverage if facts.champion else {}
    names = facts.classes or tuple(before)
    if not names and facts.champion is None:
        return Rule("no class lost", True, "the images have no classes, and nothing is in production to compare with")
    if not names:
        return Rule("no class lost", False, "not measured: groups of alike images, of production")
    missing = [name for name in names if not _is_finite(own.get(name)) or not _is_finite(before.get(name, 0.0))]
    if missing:
        return Rule("no class lost", False, f"not measured: {', '.join(missing)}")
    absolute = rules.min_class_coverage if facts.classes else 0.0
    least = {name: max(absolute, rules.min_class_share * before.get(name, 0.0)) for name in names}
    lost = [name for name in names if own[name] < least[name]]
    shown = lost or [min(names, key=lambda name: own[name] - least[name])]
    figures = ", ".join(
        f"{name} {own[name]:.1%}, at least {least[name]:.1%}"
        + (f" (production {before[name]:.1%})" if name in before else "")
        for name in shown
    )
    return Rule("no class lost", not lost, f"covered real images{'' if lost else ', the nearest to it'}: {figures}")


def _affordable(hours: float | None, most: float) -> Rule:
    if not _is_finite(hours):
        return Rule("affordable", False, "the cost was not measured")
    return Rule("affordable", hours <= most, f"{hours:.3f} device hours, allowed {most:g}")


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _all_finite(*values: float | None) -> bool:
    return all(_is_finite(value) for value in values)


def _shown(value: float | None) -> str:
    return f"{value:.4g}" if _is_finite(value) else "not measured"

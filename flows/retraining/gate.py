"""The promotion gate: a plain function from the figures of candidate and champion to a verdict on every rule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from genai_core.config import GateConfig
from genai_core.counted import counted
from genai_core.preference.bradley_terry import Preference


@dataclass(frozen=True)
class PairedDifference:
    """A distance (smaller is better), candidate minus champion, with its confidence interval.

    Both use the same seeds, test images and resamples, so their common error cancels.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelFigures:
    """The figures of one model. None: not measured."""

    distance: float | None  # FD to the real images that gate.against names
    # gate.max_worse_share is a share of this: FD to the training images (the largest set, so the least biased), or the
    # FD of held-out real images if that is larger. For a model as good as real images, a share of its own FD is ~0.
    scale: float | None
    memorised_share: float | None  # share of its images nearer to a training image than held-out real ones are
    recall: float | None  # share of real images within the support of the generated ones
    # Class -> share of its real images covered. Without classes: group of similar images -> the same.
    class_coverage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class GateFacts:
    """Candidate and champion, measured alike. champion and difference are None without a comparable champion."""

    candidate: ModelFigures
    champion: ModelFigures | None
    difference: PairedDifference | None
    same_protocol: bool  # the same test images, seeds and extractor for both
    recall_of_real: float | None  # recall of held-out real images: what a perfect model reaches
    classes: tuple[str, ...]  # of the dataset; empty: no labels
    device_hours: float | None  # cost of the candidate
    label_accuracy: float | None = None  # test accuracy of the classifier that measures both
    production_label_accuracy: float | None = None  # of the one that measured production when it was made
    alone: str = ""  # why production is not comparable: it generates other classes, or images of another size
    preference: Preference | None = None  # people's, for the candidate over the champion; None: no champion


@dataclass(frozen=True)
class Rule:
    """One rule of the gate, whether it passed, and the figures behind that. open: it is decided at the approval."""

    name: str
    passed: bool
    figures: str
    open: bool = False

    @property
    def outcome(self) -> str:
        return "not decided yet" if self.open else "passed" if self.passed else "NOT passed"


@dataclass(frozen=True)
class GateVerdict:
    """All rules in order. One failed rule is enough to reject."""

    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(f"{rule.name}: {rule.figures}" for rule in self.rules if not rule.passed)


def gate(facts: GateFacts, rules: GateConfig) -> GateVerdict:
    """Apply every rule to a candidate. A figure that is missing or not finite fails its rule.

    The rule on people's votes is decided at the approval (`with_votes`): until then, it passes.
    """
    votes = () if rules.min_preference is None else (_preferred(facts.preference, rules.min_preference, final=False),)
    return GateVerdict(
        (
            _comparable(facts),
            _labels_consistent(facts, rules.max_accuracy_drop),
            _not_worse(facts),
            _sharp_enough(facts, rules),
            _not_memorised(facts.candidate.memorised_share, rules.max_memorised_share),
            _not_collapsed(facts, rules.min_recall_share),
            _no_class_lost(facts, rules),
            _affordable(facts.device_hours, rules.max_device_hours),
            *votes,
        )
    )


def with_votes(verdict: GateVerdict, preference: Preference | None, least: float, *, final: bool = True) -> GateVerdict:
    """Return the verdict with the rule on people's votes as of now. preference: None without a champion.

    final: decide the rule; else it stays open.
    """
    decided = _preferred(preference, least, final=final)
    return GateVerdict(tuple(decided if rule.name == decided.name else rule for rule in verdict.rules))


def gate_facts(
    comparison: Mapping[str, Any],
    device_hours: float | None,
    production_label_accuracy: float | None = None,
    preference: Preference | None = None,
) -> GateFacts:
    """Collect the facts from a comparison (docs/evaluation.md), the candidate's cost and people's votes."""
    values = comparison["gate"]
    champion, difference = values["champion"], values["difference"]
    return GateFacts(
        candidate=ModelFigures(**values["candidate"]),
        champion=ModelFigures(**champion) if champion else None,
        difference=PairedDifference(**difference) if difference else None,
        same_protocol=values["same_protocol"],
        recall_of_real=values["recall_of_real"],
        classes=tuple(values["classes"]),
        device_hours=device_hours,
        label_accuracy=label_accuracy(comparison.get("protocol", {})),
        production_label_accuracy=production_label_accuracy,
        alone=values.get("alone", ""),
        preference=preference,
    )


def label_accuracy(protocol: Mapping[str, Any]) -> float | None:
    """Test accuracy of a classifier extractor, from a protocol block; None for any other extractor.

    A self-supervised network's accuracy is that of its own task, and says nothing about labels.
    """
    accuracy = protocol.get("extractor_test_accuracy") if protocol.get("extractor") == "classifier" else None
    return float(accuracy) if isinstance(accuracy, int | float) else None


def _comparable(facts: GateFacts) -> Rule:
    if facts.champion is None:
        return Rule("comparable", True, facts.alone or "no model is in production to compare with")
    how = "the same" if facts.same_protocol else "not the same: measure both again"
    return Rule("comparable", facts.same_protocol, f"test images, seeds and extractor of both are {how}")


def _labels_consistent(facts: GateFacts, most: float) -> Rule:
    """Detect wrong labels: both models are measured against the new data, so one that imitates them would look better.

    A classifier cannot learn wrong labels, so its test accuracy falls.
    """
    now, before = facts.label_accuracy, facts.production_label_accuracy
    if _is_finite(now) and _is_finite(before):
        figures = f"test accuracy of the classifier {now:.3f}, on production's data {before:.3f}, may fall by {most:g}"
        return Rule("labels consistent", now >= before - most, figures)
    if not facts.classes:
        return Rule("labels consistent", True, "the images have no labels")
    if facts.champion is None:
        return Rule("labels consistent", True, facts.alone or "no model is in production to compare with")
    if most >= 1:
        return Rule("labels consistent", True, "not checked: gate.max_accuracy_drop is 1")
    if _is_finite(now):
        missing = "metrics/finetuned.json of production's commit has no accuracy of a classifier"
    else:
        missing = "no classifier was trained on the new labels; set extractor.kind to classifier"
    skip = "set gate.max_accuracy_drop to 1 to skip this rule"
    return Rule("labels consistent", False, f"not measured: {missing}, or {skip}")


def _not_worse(facts: GateFacts) -> Rule:
    """A candidate is worse if its whole confidence interval lies above 0."""
    if facts.champion is None:
        own = facts.candidate.distance
        return Rule("not worse", _is_finite(own), f"distance {_shown(own)}; no champion to compare with")
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
    """A wide interval contains 0 whatever the models are, so "not worse" says nothing then."""
    if facts.champion is None:
        return Rule("sharp enough", True, _why_alone(facts))
    difference, scale = facts.difference, facts.champion.scale
    if difference is None or not _all_finite(difference.low, difference.high) or not _is_finite(scale):
        return Rule("sharp enough", False, "the difference was not measured")
    if difference.high < 0:
        return Rule("sharp enough", True, "the whole interval is better")
    most = rules.max_worse_share * scale
    figures = f"at worst {difference.high:+.4g}, allowed {most:+.4g} ({rules.max_worse_share:.0%} of {scale:.4g})"
    if difference.high <= most:
        return Rule("sharp enough", True, figures)
    more = "; more images narrow the interval: evaluation.total_images, data.test_share" if difference.low <= 0 else ""
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
    """A class is lost if it is rarely generated, or much less than by production.

    Groups of similar images have no absolute minimum: some contain only outliers.
    """
    own, before = facts.candidate.class_coverage, facts.champion.class_coverage if facts.champion else {}
    names = facts.classes or tuple(before)
    if not names and facts.champion is None:
        return Rule("no class lost", True, f"the images have no classes, and {_why_alone(facts)}")
    if not names:
        return Rule("no class lost", False, "not measured: production's groups of similar images")
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
    return Rule("no class lost", not lost, f"covered real images{'' if lost else ' (nearest to the limit)'}: {figures}")


def _affordable(hours: float | None, most: float) -> Rule:
    if not _is_finite(hours):
        return Rule("affordable", False, "the cost was not measured")
    return Rule("affordable", hours <= most, f"{hours:.3f} device hours, allowed {most:g}")


def _preferred(preference: Preference | None, least: float, *, final: bool) -> Rule:
    """Not preferred is what the interval cannot exclude; few votes give a wide one."""
    if preference is None:
        return Rule("preferred", True, "there is no model in production that it can be compared with")
    figures = (
        f"{counted(preference.votes, 'vote')}: {preference.value:.0%} for the candidate, between {preference.low:.0%} "
        f"and {preference.high:.0%}; at least {least:.0%} needed"
    )
    if not final:
        return Rule("preferred", True, f"{figures}; decided at the approval", open=True)
    # Without votes the interval excludes little, not nothing: a small minimum lies below it.
    return Rule("preferred", preference.votes > 0 and preference.low >= least, figures)


def _why_alone(facts: GateFacts) -> str:
    """Why there is no champion; the rule `comparable` has the whole reason."""
    return "production cannot be compared with it" if facts.alone else "no model is in production to compare with"


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _all_finite(*values: float | None) -> bool:
    return all(_is_finite(value) for value in values)


def _shown(value: float | None) -> str:
    return f"{value:.4g}" if _is_finite(value) else "not measured"

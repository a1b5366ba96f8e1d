"""Foresee a rejection that no candidate can avoid, before hours of training."""

from pathlib import Path

from flows.data.diff import DataDiff
from flows.retraining.champion import champion_label_accuracy
from flows.retraining.facts import Situation
from flows.retraining.policy import RetrainFacts
from genai_core.config import extractor_kind


def foreseen_rejection(
    workspace: Path, situation: Situation, facts: RetrainFacts, change: DataDiff | None
) -> str | None:
    """Say why the gate's rule "labels consistent" will fail whatever is trained, and what to set; None if it may pass.

    change: of the data since production; None if there is none, or it is unknown. The rule compares two test
    accuracies of classifiers: one trained on the new labels, and production's.
    """
    config, shape = situation.config, situation.shape
    if shape is None or not shape.classes or config.gate.max_accuracy_drop >= 1:
        return None
    is_known = change.images is not None if change else situation.same_data
    if not is_known or facts.other_shape or facts.new_classes or facts.lost_classes:  # then the models are not compared
        return None
    kind = extractor_kind(config.extractor.kind, len(shape.classes))
    known = champion_label_accuracy(workspace, situation.production) is not None
    if kind == "classifier" and known:
        return None
    missing, settings = [], []
    if kind != "classifier":
        missing.append(f"extractor.kind is {kind}, which learns no labels")
        settings.append("extractor.kind to classifier and selection.metric to fd_classifier")
    if not known:
        missing.append(f"{situation.champion} was measured without a classifier")
        settings.append("gate.max_accuracy_drop to 1 for this retraining, which skips the rule")
    else:
        settings.append("gate.max_accuracy_drop to 1, which skips the rule")
    together = " and " if not known else ", or "
    return (
        f'the gate would reject every candidate: the images have classes, so its rule "labels consistent" compares '
        f"classifiers, but {' and '.join(missing)}. In params.yaml, set {together.join(settings)}; then commit it"
    )

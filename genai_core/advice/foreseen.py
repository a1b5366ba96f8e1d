"""What would fail, or measure nothing, in a later stage: known from params.yaml and the numbers of images."""

from collections.abc import Iterator
from dataclasses import dataclass

from genai_core.advice.facts import DataFacts
from genai_core.config import Config, extractor_kind
from genai_core.config.extractor import TrainedExtractorConfig

_FEW_IMAGES = 10  # of a class
_SINGLE_SHARE = 0.5  # from this share of classes with one image each, they are hardly classes


@dataclass(frozen=True)
class Finding:
    """One sentence. is_fatal: a stage would end with an error; otherwise its result would say little.

    stage: the only one that it concerns; None: all figures, or a stage of every run.
    """

    is_fatal: bool
    text: str
    stage: str | None = None


def foreseen(config: Config, data: DataFacts) -> tuple[Finding, ...]:
    """Return what is known to go wrong, errors first. Of the pixels, only whether they can be decoded."""
    found = [*_unreadable(config, data), *_extractor(config, data), *_split(config, data)]
    found += [*_models(config, data), *_few_steps(config), *_classes(config, data)]
    return tuple(sorted(found, key=lambda finding: not finding.is_fatal))


def _unreadable(config: Config, data: DataFacts) -> Iterator[Finding]:
    limit = config.data.max_rejected_share
    if data.unreadable_share > limit:
        # Of a sample, the share is an estimate; and data.max_megapixels may be above the limit of looking.
        is_sure = data.sampled >= data.count and data.unreadable - data.too_large > limit * data.sampled
        yield Finding(
            is_sure,
            f"{data.unreadable:,} of the {data.sampled:,} images looked at cannot be decoded{data.first_unreadable}, "
            f"and prepare stops above data.max_rejected_share ({limit:g}); remove them (genai data remove) or raise it",
        )


def _extractor(config: Config, data: DataFacts) -> Iterator[Finding]:
    kind, classes = extractor_kind(config.extractor.kind, len(data.classes)), list(data.classes)
    if kind == "classifier" and len(classes) < 2:
        has = f"only the class {classes[0]!r}" if classes else "no classes"
        yield Finding(
            True,
            f"extractor.kind is classifier, but the images have {has}; set extractor.kind to auto and selection.metric "
            "to fd_auto",
        )
    _, test = data.split(config.data.test_share)
    if isinstance(config.extractor, TrainedExtractorConfig) and config.extractor.feature_dim >= test:
        yield Finding(
            False,
            f"extractor.feature_dim is {config.extractor.feature_dim}, about {test:,} images are for testing: with so "
            "few, the floor is mostly bias; lower it",
        )


def _split(config: Config, data: DataFacts) -> Iterator[Finding]:
    share = config.data.test_share
    train, test = data.split(share)
    neighbours = max(config.evaluation.density_neighbours, config.evaluation.precision_neighbours)
    least = neighbours + 1
    if test >= least and train >= least:
        return
    small, which = (test, "test with") if test < least else (train, "train on")
    text = (
        f"{data.count:,} images leave about {small:,} to {which} (data.test_share {share:g}), and the figures compare "
        f"each with its {neighbours} nearest neighbours"
    )
    if data.usable >= 2.5 * least and test < least and not data.given:
        text += f"; set data.test_share to {min(0.5, round(2 * least / data.usable, 2)):g}, or add images"
    else:
        text += "; add images: genai data add SOURCE"
    yield Finding(True, text)


def _models(config: Config, data: DataFacts) -> Iterator[Finding]:
    train, _ = data.split(config.data.test_share)
    batches: list[tuple[str, int | None, str | None]] = [
        (f"models.{name}.training", model.training.batch_images, None) for name, model in config.models.items()
    ]
    for section, batch, stage in (*batches, ("finetune", config.finetune.batch_images, "finetune")):
        if batch is not None and 0 < train < batch:
            yield Finding(
                False,
                f"{section}.batch_images is {batch:,}, about {train:,} images are for training: each batch repeats "
                "images",
                stage,
            )


def _few_steps(config: Config) -> Iterator[Finding]:
    others = [name for name, model in config.models.items() if model.family != "diffusion"]
    if config.finetune.kind != "few_step" or config.finetune.start != "selected" or not others:
        return
    only = "finetune.kind is few_step, which is for diffusion models only, and"
    if len(others) == len(config.models):
        yield Finding(True, f"{only} models: has none; set finetune.kind to full", "finetune")
        return
    yield Finding(
        False,
        f"{only} models: also has {', '.join(others)}: if one of these is selected, the stage finetune ends with an "
        "error; remove them, or name the diffusion model once it is trained: genai base NAME",
        "finetune",
    )


def _classes(config: Config, data: DataFacts) -> Iterator[Finding]:
    single = sum(count == 1 for count in data.classes.values())
    if single and len(data.classes) > 1:
        text = f"{single:,} of {len(data.classes):,} classes have one image"
        if single >= _SINGLE_SHARE * len(data.classes):
            text += "; they may be captions or ids rather than classes: genai data add --help says how to add these"
        yield Finding(False, text)
    few = [name for name, count in data.classes.items() if 1 < count < _FEW_IMAGES]
    if few and len(data.classes) > 1:
        shown = ", ".join(f"{name} {data.classes[name]}" for name in few[:3]) + (", ..." if len(few) > 3 else "")
        yield Finding(
            False,
            f"{len(few):,} of {len(data.classes):,} classes have fewer than {_FEW_IMAGES} images ({shown}): too few to "
            "learn from or to measure",
        )
    if len(data.classes) > config.evaluation.total_images:
        yield Finding(
            False,
            f"evaluation.total_images is {config.evaluation.total_images:,}, fewer than the {len(data.classes):,} "
            "classes: of some, no image is measured",
        )

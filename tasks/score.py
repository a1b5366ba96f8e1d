"""Measure any images against any others: `python -m tasks.score IMAGES --against REAL [--extractor ...]`.

Not a stage of dvc.yaml: `genai evaluate` runs it.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from genai_core.config import NEEDS_MANUAL_ACTION, PARAMS_FILE, Config, InceptionExtractorConfig, load_config
from genai_core.data.dataset.dataset import Split
from genai_core.evaluation.extractor import load_extractor
from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.evaluation.image_sets import MeasuredSet, Score, measure_set, score_sets
from genai_core.evaluation.image_source import ImageBatch, image_batches
from genai_core.evaluation.resizing import ImageForm, form_protocol, resize_rule
from genai_core.evaluation.set_figures import Figure
from genai_core.sampling.batch import PROVENANCE_FILE, read_images, read_manifest
from tasks.device import torch_device
from tasks.selfcheck import selfcheck

PROJECT_EXTRACTOR = Path("models/extractor")
PUBLISHED_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
PUBLISHED_SHA256 = "6726825d"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.score", description=__doc__)
    parser.add_argument("images", nargs="?", help="a folder, an archive, .npy, .npz, or a prepared dataset")
    parser.add_argument(
        "--images-split", choices=("train", "test"), help="split of IMAGES; for a prepared dataset, by default train"
    )
    parser.add_argument("--at-most", type=int, help="use only this many of IMAGES, chosen at random  [default: all]")
    parser.add_argument("--against", help="the real images, in any of the same formats")
    parser.add_argument(
        "--split", choices=("train", "test"), help="split of the real images; for a prepared dataset, by default train"
    )
    parser.add_argument(
        "--extractor",
        choices=("project", "inception"),
        help="by default the project's, if there is one, else inception",
    )
    parser.add_argument("--weights", help="Inception's weights file")
    parser.add_argument("--weights-sha256", default=PUBLISHED_SHA256, help="of that file, or its first 8 digits")
    parser.add_argument("--size", help="H or HxW: resize all images to it; by default what the extractor takes")
    parser.add_argument(
        "--resize", choices=("clean", "legacy"), help="how to resize all images; by default clean with --size, else not"
    )
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    parser.add_argument(
        "--selfcheck", action="store_true", help="compare the figures of CIFAR-10 with the published ones"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        config = load_config(Path(PARAMS_FILE))
        if arguments.selfcheck:
            sys.exit(selfcheck(arguments.images, lambda: given_inception(arguments, config), config))
        if not arguments.images or not arguments.against:
            raise ValueError("expected IMAGES and --against REAL")
        extractor, description = choose_extractor(arguments, config)
        forms = [image_form(arguments, extractor, config) for _ in ("images", "real")]
        images = measured(arguments.images, arguments.images_split, extractor, config, forms[0])
        images = images.first(arguments.at_most)
        real = measured(arguments.against, arguments.split, extractor, config, forms[1])
        score = score_sets(images, real, description, config.evaluation, forms)
    except (ValueError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        sys.exit(NEEDS_MANUAL_ACTION)
    for rule in form_protocol(forms).items():
        print("{}: {}".format(*rule))
    print("\n".join(table(score)))
    for warning in score.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(as_json(score), indent=2, allow_nan=False) + "\n")


def choose_extractor(arguments: argparse.Namespace, config: Config) -> tuple[FeatureNetwork, ExtractorDescription]:
    """Choose the requested extractor; else the project's own, else Inception if its weights are available."""
    wanted = arguments.extractor or ("inception" if arguments.weights else None)
    if wanted is None:
        published = Path(torch.hub.get_dir()) / "checkpoints" / PUBLISHED_WEIGHTS
        if PROJECT_EXTRACTOR.is_dir():
            wanted = "project"
        elif published.is_file():
            wanted = "inception"
        else:
            raise ValueError(
                "no extractor: pass Inception's weights with --weights FILE, download them with "
                f"--extractor inception (to {published}), or train one on the project's dataset with "
                "`genai run extractor` (models/extractor)"
            )
    return (
        load_extractor(PROJECT_EXTRACTOR, config.extractor, torch_device(config))
        if wanted == "project"
        else given_inception(arguments, config)
    )


def given_inception(arguments: argparse.Namespace, config: Config) -> tuple[FeatureNetwork, ExtractorDescription]:
    """Return Inception with the weights in the command's options, or with the published ones."""
    from genai_core.evaluation.inception import given_inception as given

    chosen = InceptionExtractorConfig(
        kind="inception", weights=arguments.weights, weights_sha256=arguments.weights_sha256, precision="fp32"
    )
    network, description = given(chosen)
    return network.to(torch_device(config)), replace(description, sha256=description.source_sha256)


def image_form(arguments: argparse.Namespace, extractor: FeatureNetwork, config: Config) -> ImageForm:
    """Return the form of the images of one set, by the command's options. Raises ValueError."""
    rule = resize_rule(arguments.size, arguments.resize, extractor)
    background = None if rule is None else config.data.background
    return ImageForm(rule, extractor.channels, extractor.image_size, background)


def measured(
    source: str, split: Split | None, extractor: FeatureNetwork, config: Config, form: ImageForm
) -> MeasuredSet:
    """Extract features of a source; archives are unpacked into a temporary folder."""
    batch = config.evaluation.batch_images
    with tempfile.TemporaryDirectory(prefix="genai-") as scratch:
        if (Path(source) / PROVENANCE_FILE).is_file():
            batches = generated_batches(Path(source), batch, split, form)
        else:
            batches = image_batches(source, Path(scratch), batch, split, form, lambda note: _say(source, note))
        return measure_set(extractor, batches, batch, config.evaluation.seed)


def _say(source: str, note: str) -> None:
    print(f"{source}: {note}", file=sys.stderr)


def generated_batches(folder: Path, batch_images: int, split: Split | None, form: ImageForm) -> Iterator[ImageBatch]:
    """Yield the images that the pipeline generated into `folder`, with the classes that were requested.

    Without this, its preview and its folder `images` would be read as classes. Raises ValueError if a split is given.
    """
    if split is not None:
        raise ValueError(f"{folder}: generated images have no split; omit the option")
    rows = read_manifest(folder)
    for begin in range(0, len(rows), batch_images):
        part = rows.iloc[begin : begin + batch_images]
        images = form.apply_all(read_images(folder, part), str(folder))
        yield ImageBatch(images, tuple(name or None for name in part["class_name"]))


def table(score: Score) -> list[str]:
    """Format one line per figure: name, value, interval."""
    confidence = score.protocol["confidence"]
    width = max(len(name) for name in score.figures)
    lines = [f"{'':<{width}}  {'value':>10}  {confidence:.0%} interval"]
    lines += [f"{name:<{width}}  {figure.value:>10.4g}  {_ends(figure)}" for name, figure in score.figures.items()]
    for name, classes in score.by_class.items():
        lines.append(f"{name}:")
        lines += [
            f"  {label:<{width - 2}}  {figure.value:>10.4g}  {_ends(figure)}" for label, figure in classes.items()
        ]
    return lines


def as_json(score: Score) -> dict[str, object]:
    """Return figures by name, {low, high} under "interval", and the protocol."""
    intervals = {
        name: {"low": figure.interval.low, "high": figure.interval.high}
        for name, figure in score.figures.items()
        if figure.interval is not None
    }
    by_class = {name: {label: f.value for label, f in classes.items()} for name, classes in score.by_class.items()}
    figures = {name: figure.value for name, figure in score.figures.items()}
    return {**figures, **by_class, "interval": intervals, "protocol": score.protocol}


def _ends(figure: Figure) -> str:
    return "" if figure.interval is None else f"{figure.interval.low:.4g} to {figure.interval.high:.4g}"


if __name__ == "__main__":
    main()

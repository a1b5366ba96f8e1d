"""The command `genai evaluate`."""

import sys
from pathlib import Path

import click

from flows.json_output import json_option, print_json


@click.command()
@click.argument("images", required=False)
@click.option("--against", help="The real images, in any of the same formats.")
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    help="Split of the real images.  [default: all; train of a dataset]",
)
@click.option(
    "--extractor", type=click.Choice(["project", "inception"]), help="[default: the project's, if there is one]"
)
@click.option("--weights", help="Inception's weights file.")
@click.option("--weights-sha256", help="Its sha256, or the first 8 digits.  [default: that of the published weights]")
@click.option("--size", metavar="H|HxW", help="Resize all images to H x W pixels.  [default: what the extractor takes]")
@click.option(
    "--resize",
    type=click.Choice(["clean", "legacy"]),
    help="Resize all images: with antialias, or as the published FID code does.  [default: clean with --size]",
)
@click.option("--out", help="A JSON file to write.")
@click.option("--selfcheck", is_flag=True, help="IMAGES is CIFAR-10: compare with its published figures.")
@json_option
@click.pass_obj
def evaluate(
    workspace: Path,
    images: str | None,
    against: str | None,
    split: str | None,
    extractor: str | None,
    weights: str | None,
    weights_sha256: str | None,
    size: str | None,
    resize: str | None,
    out: str | None,
    selfcheck: bool,
    as_json: bool,
) -> None:
    """Measure IMAGES from any tool against real images.

    Prints FD, KID, precision, recall and more, with intervals. Both are folders, archives, .npy, .npz, IDX, Parquet or
    prepared datasets. Images of different sizes need --resize or --size. See docs/evaluation.md.
    """
    from flows.measuring.evaluate import Request, check, evaluate, evaluate_to_json

    request = Request(images, against, split, extractor, weights, weights_sha256, out, selfcheck, size, resize)
    check(workspace, request)
    if as_json:
        if selfcheck:
            raise click.UsageError("--selfcheck prints only a table; omit --json")
        print_json(evaluate_to_json(workspace, request))
        return
    sys.exit(evaluate(workspace, request))

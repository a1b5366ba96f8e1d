"""The command `genai generate`: images of any model, into a folder."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import click

from flows.completion import completing, model_names
from flows.json_output import json_option, print_json
from flows.progress_bar import progress_bar
from flows.registry.cli import version_names


def drawing_models(workspace: Path) -> Iterable[str]:
    """Return prod, the registered versions and this workspace's models, for shell completion."""
    return ["prod", *version_names(workspace), *model_names(workspace)]


@click.command()
@click.option("--count", type=int, required=True, help="Number of images.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The folder to make; it must not exist yet."
)
@click.option(
    "--model",
    default="prod",
    show_default=True,
    help="prod, a version, a model of this workspace (candidate, gan), a folder or a git revision.",
    shell_complete=completing(drawing_models),
)
@click.option(
    "--classes", multiple=True, metavar="NAME[,NAME...]", help="Draw these classes in turn.  [default: all, in turn]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the first image; image i has seed + i.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["png", "tar"]),
    default="png",
    show_default=True,
    help="A file per image, or archives of 10,000.",
)
@click.option(
    "--set",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="A sampling option of the model's family, such as steps=20; may be repeated.",
)
@json_option
@click.pass_obj
def generate(
    workspace: Path,
    count: int,
    out: Path,
    model: str,
    classes: tuple[str, ...],
    seed: int,
    form: Literal["png", "tar"],
    options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw images with any model into a new folder.

    With a manifest and provenance.

    On one machine's processor, the same model, class, seed and options give the same picture as the page and the API of
    `genai serve`. The folder appears when it is complete. `genai lineage OUT/images/000000.png` shows what it was made
    from.
    """
    from flows.registry.generate import Request
    from flows.registry.generate import generate as run
    from flows.registry.model_names import open_model

    names = split_classes(classes, open_model(workspace, model).classes) if classes else ()
    request = Request(count, out, model, names, seed, form, options)
    with progress_bar("draw") as on_progress:
        made = run(workspace, request, _print_line, on_progress)
    values, drawn = made.provenance, made.provenance["drawn"]
    used = list(names) or list(made.model.classes)
    if as_json:
        facts = {"out": str(made.folder), "images": count, "classes": used, "seeds": [seed, seed + count - 1]}
        model_facts = {"family": made.model.family, "sha256": made.model.sha256}
        print_json({**facts, **drawn, **model_facts, "sampling": values["sampling"], "form": form})
        return
    click.echo(f"{count:,} images of {made.model.title} ({made.model.family}) in {made.folder}")
    sampling = ", ".join(f"{name}={value}" for name, value in values["sampling"].items())
    click.echo(
        f"  seeds {seed} to {seed + count - 1}; " + (f"classes {', '.join(used)} in turn" if used else "no classes")
    )
    click.echo(f"  sampling: {sampling or 'no options'}")


def split_classes(given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Split each value at commas, unless it is the name of a class that contains one."""
    parts = ([value] if value in known else [name.strip() for name in value.split(",")] for value in given)
    return tuple(name for names in parts for name in names if name)


def _print_line(line: str) -> None:
    """Print a line of the task, unless it says what the bar shows."""
    if not (sys.stderr.isatty() and line.startswith("images: ")):
        click.echo(line, err=True)

"""The command `genai base`: which model fine-tuning continues."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from flows.completion import completing, model_names
from flows.json_output import json_option, print_json
from flows.registry.cli import version_names


def possible_bases(workspace: Path) -> Iterable[str]:
    """Return what fine-tuning can continue, for shell completion."""
    return ["selected", "prod", *version_names(workspace), *model_names(workspace)]


@click.command()
@click.argument("name", required=False, shell_complete=completing(possible_bases))
@json_option
@click.pass_obj
def base(workspace: Path, name: str | None, as_json: bool) -> None:
    """Set or show the model that fine-tuning continues.

    NAME is prod, a version, a model of this workspace (candidate, gan), a folder or a git revision. The model is copied
    to models/base, which DVC tracks, and params.yaml gets finetune.start: base. So what is continued stays the same
    when production moves on. NAME `selected` sets finetune.start back: each run continues its own best model.

    Without NAME, show what is set.
    """
    from flows.advising.checks import missing_base
    from flows.registry.base import read_base, set_base
    from flows.workspace import checked_config

    found = set_base(workspace, name) if name else read_base(workspace)
    start = checked_config(workspace).finetune.start
    if as_json:
        print_json({"start": start, "base": asdict(found) if found else None})
        return
    if start == "selected":
        click.echo("fine-tuning continues the best model of each run (finetune.start: selected)")
        return
    if found is None:
        fetch = "finetune.start is base, but models/base is not here. Fetch it: dvc checkout models/base.dvc"
        click.echo(missing_base(workspace) or fetch)
        return
    classes = f"{len(found.classes)} classes" if found.classes else "no classes"
    click.echo(f"fine-tuning continues {found.name}: {found.family}, {classes}, weights {found.weights[:12]}")
    if not found.knows_images:
        click.echo("which images it was trained on is unknown, so finetune.images can only be all")
    if name:
        click.echo("Next: genai run candidate. Commit params.yaml and models/base.dvc")

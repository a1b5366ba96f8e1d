"""The commands `genai init` and `genai start`."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from flows.completion import completing
from flows.data import cli as data_cli
from flows.json_output import FLAG, json_option, print_json

DEFAULT_MINUTES = 30.0
# What `genai start` added here; it may be called again, to continue.
STARTED = Path(".genai/look/started.json")


def _presets(_workspace: Path) -> list[str]:
    from flows.presets import preset_names

    return preset_names()


_MINUTES = click.option(
    "--minutes",
    type=click.FloatRange(min=0.0, min_open=True),
    default=DEFAULT_MINUTES,
    show_default=True,
    help="How long the whole run may take on this machine.",
)
_SEARCH = click.option(
    "--search", "searches", is_flag=True, help="Propose ranges for `genai search`, too, around what is chosen."
)
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_PRESET = click.option(
    "--preset",
    metavar="NAME",
    help="Take a preset instead of looking: digits, fashion-mnist, cifar10, photos-64 or photos-128.",
    shell_complete=completing(_presets),
)


@click.command()
@_MINUTES
@_PRESET
@_SEARCH
@_YES
@click.option("--force", is_flag=True, help="Overwrite an edited params.yaml.")
@json_option
@click.pass_obj
def init(
    workspace: Path, minutes: float, preset: str | None, searches: bool, yes: bool, force: bool, as_json: bool
) -> None:
    """Look at the data and this machine, and propose params.yaml.

    Decodes a sample of data/raw and measures for about half a minute how fast this machine trains. Shows what it found
    and chose, asks, and writes params.yaml, in which each chosen value has its reason as a comment.
    """
    if preset is not None and searches:
        raise click.UsageError("--search is for ranges around a proposal, and --preset makes none")
    if preset is not None:
        _take_preset(workspace, preset, force=force, as_json=as_json)
        return
    _init(workspace, minutes, searches=searches, yes=yes, force=force, as_json=as_json)


def _take_preset(workspace: Path, preset: str, *, force: bool, as_json: bool = False) -> None:
    from flows.presets import write_preset

    path = write_preset(workspace, preset, force=force)
    click.echo(f"{path} is now the preset {preset}")
    if as_json:
        print_json({"preset": preset, "written": str(path)})


def _init(
    workspace: Path, minutes: float, *, yes: bool, force: bool, searches: bool = False, as_json: bool = False
) -> None:
    from flows.advising.measured import calibrate, look
    from flows.advising.params_file import base_values, is_edited, proposal_text, write_proposal
    from flows.advising.view import as_json as proposal_json
    from flows.advising.view import chosen_lines, found_lines, show
    from genai_core.advice.propose import check_enough, propose
    from genai_core.advice.search_space import search_setting
    from genai_core.config import ConfigError

    asks = not yes and not as_json and sys.stdin.isatty()
    if is_edited(workspace) and not force and not asks:
        raise ConfigError(f"{workspace / 'params.yaml'} was edited; commit or move it, then --force overwrites it")
    click.echo("looking at the images ...", err=True)
    data = look(workspace)
    check_enough(data)
    click.echo("measuring this machine ...", err=True)
    base = base_values()
    machine = calibrate(workspace, data, base, minutes)
    advice = propose(base, data, machine, minutes)
    if searches:
        ranges = search_setting(advice.values, advice.models[0])
        advice = replace(advice, settings=(*advice.settings, ranges))
    show(data, machine, advice)
    click.echo()
    if asks and not click.confirm(_question(is_edited(workspace)), default=not is_edited(workspace)):
        click.echo(
            "Nothing was changed by `genai init`; images that were added stay in data/raw (genai data status). "
            "Call it again, with other --minutes, or take images out: genai data remove NAME --all",
            err=True,
        )
        raise click.Abort
    head = ["Proposed by `genai init`:", *found_lines(data, machine), *chosen_lines(advice)]
    path = write_proposal(workspace, proposal_text(advice, head), force=force or asks)
    click.echo(f"{path} is written; `genai plan` shows what a run does")
    if searches:
        click.echo(f"`genai search --minutes {minutes:g}` tries other values of its search.space (docs/search.md)")
    if as_json:
        print_json(proposal_json(data, machine, advice, str(path)))


def _question(edited: bool) -> str:
    return "params.yaml was edited; overwrite it?" if edited else "Write params.yaml?"


@click.command()
@click.argument("source")
@_MINUTES
@_PRESET
@_YES
@click.option("--force", is_flag=True, help="Overwrite an edited params.yaml.")
@click.pass_context
def start(
    context: click.Context,
    /,
    source: str,
    minutes: float,
    preset: str | None,
    yes: bool,
    force: bool,
    **options: Any,
) -> None:
    """From images to a report: add them, propose settings, run.

    It is `genai data add SOURCE`, `genai init` and `genai run`. SOURCE and its options are those of `genai data add`.
    If a step fails, call it again: it continues.
    """
    from flows.advising.params_file import is_edited
    from flows.run_cli import run_stages
    from flows.runs.terminal import REPORT
    from genai_core.config import ConfigError

    workspace: Path = context.obj
    if is_edited(workspace) and not force and (yes or not sys.stdin.isatty()):
        raise ConfigError(f"{workspace / 'params.yaml'} was edited; commit or move it, then --force overwrites it")
    _check_alone(workspace, source, options.get("name"))
    context.invoke(data_cli.add, source=source, **options)
    _remember(workspace, source)
    if preset is not None:
        _take_preset(workspace, preset, force=force)
    else:
        _init(workspace, minutes, yes=yes, force=force)
    status = run_stages(workspace, ())
    if status == 0:
        click.echo(f"Open {workspace / REPORT} in a browser.")
    sys.exit(status)


# Whatever `genai data add` accepts. A document of its own would not be the only one.
start.params += [
    option for option in data_cli.add.params if isinstance(option, click.Option) and FLAG not in option.opts
]


def _check_alone(workspace: Path, source: str, name: str | None) -> None:
    """Raise ConfigError if data/raw already has images of another source: `start` is for one dataset."""
    from flows.dvc_lock import RAW_FILE
    from flows.workspace import RAW_DATA
    from genai_core.config import ConfigError

    if not (workspace / RAW_FILE).is_file():
        return
    folder, started = workspace / RAW_DATA, workspace / STARTED
    if started.is_file() and json.loads(started.read_text()) == _absolute(source):
        return
    stem = re.sub(r"(\.(tar|zip|tgz|gz|bz2|xz|zst|npz|npy|parquet))+$", "", Path(source.rpartition(":")[2]).name)
    wanted = name or re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")
    there = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ["images"]
    if any(other == wanted or other.startswith(f"{wanted}.") for other in there):
        return
    raise ConfigError(
        f"{workspace} already holds {', '.join(there)}, and all of data/raw is one dataset. For a dataset of its own, "
        f"make a workspace: genai new FOLDER. To add these images to the others: genai data add {source}"
    )


def _remember(workspace: Path, source: str) -> None:
    from flows.whole_file import write_file

    write_file(workspace / STARTED, json.dumps(_absolute(source)))


def _absolute(source: str) -> str:
    return source if ":" in source else str(Path(source).resolve())

"""The command `genai`. Starts quickly: never imports torch, and prefect and dvc only in the commands that need them."""

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from flows.data import cli as data_cli
from flows.gc import cli as gc_cli
from flows.interrupts import asked_to_end
from flows.lineage import cli as lineage_cli
from flows.measuring import backfill_cli, compare_cli
from flows.registry import cli as registry_cli
from flows.retraining import cli as retrain_cli
from flows.run_cli import resume, run
from flows.runs import cli as runs_cli
from flows.runs.terminal import headline
from flows.services import cli as services_cli
from flows.watching import cli as watch_cli
from genai_core import GenaiError

if TYPE_CHECKING:
    from flows.plan import Plan

EXIT_USAGE = 2
MOST_REASONS = 3


class _Group(click.Group):
    """Prints errors that a user can act on as one line, without a traceback, and exits with a status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GenaiError as error:
            if ctx.params["debug"]:
                raise
            _fail(str(error), EXIT_USAGE)
        except KeyboardInterrupt:
            _fail("interrupted", 128 + signal.SIGINT)


_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _take_workspace(context: click.Context, _option: click.Parameter, given: Path | None) -> None:
    if given is not None:
        context.obj = given.resolve()


def _accept_workspace(command: click.Command) -> None:
    """Take --workspace behind the subcommand, too."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _accept_workspace(inner)
    command.params.append(
        click.Option(["--workspace"], type=_FOLDER, expose_value=False, callback=_take_workspace, hidden=True)
    )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="genai-pipeline")
@click.option(
    "--workspace",
    type=_FOLDER,
    default=Path(),
    envvar="GENAI_WORKSPACE",
    help="The checkout to work on.  [default: $GENAI_WORKSPACE, or this folder]",
)
@click.option("--debug", is_flag=True, envvar="GENAI_DEBUG", help="Show the traceback of every error.")
@click.pass_context
def main(context: click.Context, workspace: Path, debug: bool) -> None:  # noqa: ARG001 - _Group reads debug
    """Keep generative image models in production: data, training, evaluation, promotion, generation.

    \b
    genai data add PATH     bring your images in
    genai plan              what would run, and why
    genai run               bring everything up to date
    """
    signal.signal(signal.SIGTERM, _raise_exit)
    context.obj = workspace.resolve()


@main.command()
@click.argument("stages", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help='Print a list of {"stage", "action", "reasons"}.')
@click.pass_obj
def plan(workspace: Path, stages: tuple[str, ...], as_json: bool) -> None:
    """Say what `genai run STAGES` would do with each stage, and why.

    Changes nothing. DVC remembers the hashes that it computes for this, in its own folders.
    """
    result = _planned(workspace, stages)
    if as_json:
        entries = [{"stage": s.stage, "action": s.action, "reasons": list(s.reasons)} for s in result.stages]
        click.echo(json.dumps(entries, indent=2))
        return
    width = max(len(entry.stage) for entry in result.stages)
    colours = {"run": "green", "restore": "cyan", "keep": None}
    for entry in result.stages:
        shown = list(entry.reasons[:MOST_REASONS])
        if len(entry.reasons) > MOST_REASONS:
            shown.append(f"and {len(entry.reasons) - MOST_REASONS} more (--json lists all)")
        action = click.style(entry.action.ljust(8 if shown else 0), fg=colours[entry.action])
        reasons = f"\n{'':<{width + 11}}".join(shown)
        click.echo(f"{entry.stage:<{width}}  {action}{' ' if shown else ''}{reasons}")
    for line in result.replaced:
        click.echo(click.style(line, fg="yellow"))
    click.echo(headline(result))


for command in (registry_cli.promote, registry_cli.rollback, registry_cli.history, registry_cli.registry):
    main.add_command(command)
for command in (compare_cli.compare, lineage_cli.lineage, services_cli.up, services_cli.down, services_cli.doctor):
    main.add_command(command)
for command in (runs_cli.runs, runs_cli.status, runs_cli.logs):
    main.add_command(command)
for command in (watch_cli.watch, retrain_cli.retrain, retrain_cli.approve, backfill_cli.backfill):
    main.add_command(command)
main.add_command(gc_cli.gc)
main.add_command(run)
runs_cli.runs.add_command(resume)


@main.command()
@click.argument("images", required=False)
@click.option("--against", help="The real images: a folder, an archive, .npy, or a prepared dataset.")
@click.option("--split", type=click.Choice(["train", "test"]), help="Their side.  [default: all; of a dataset train]")
@click.option("--extractor", type=click.Choice(["project", "inception"]), help="[default: project, if there is one]")
@click.option("--weights", help="Inception's weights file.")
@click.option("--weights-sha256", help="Its sha256, or the first 8 digits.  [default: the published network's]")
@click.option("--out", help="A JSON file to write.")
@click.option("--selfcheck", is_flag=True, help="IMAGES is CIFAR-10: compare with the published figures.")
@click.pass_obj
def evaluate(
    workspace: Path,
    images: str | None,
    against: str | None,
    split: str | None,
    extractor: str | None,
    weights: str | None,
    weights_sha256: str | None,
    out: str | None,
    selfcheck: bool,
) -> None:
    """Measure IMAGES, from whatever tool, against real ones: FD, KID, precision, recall and more, with intervals.

    Both are folders, archives, .npy, .npz, IDX, Parquet or prepared datasets, of one size. See docs/evaluation.md.
    """
    from flows.measuring.evaluate import evaluate as run_evaluate

    options = {"against": against, "split": split, "extractor": extractor, "weights": weights, "out": out}
    sys.exit(run_evaluate(workspace, images, selfcheck=selfcheck, weights_sha256=weights_sha256, **options))


@main.command()
@click.option(
    "--preset", required=True, metavar="NAME", help="digits, fashion-mnist, cifar10, photos-64 or photos-128."
)
@click.option("--force", is_flag=True, help="Overwrite a params.yaml that somebody has changed.")
@click.pass_obj
def init(workspace: Path, preset: str, force: bool) -> None:
    """Write params.yaml for a common kind of data. Its first lines say what it costs and what to expect."""
    from flows.presets import write_preset

    click.echo(f"{write_preset(workspace, preset, force=force)} is now the preset {preset}")


@main.group()
def data() -> None:
    """The images: what is tracked, adding more, and the way to and from a remote."""


for command in (data_cli.status, data_cli.diff, data_cli.push, data_cli.pull, data_cli.verify):
    data.add_command(command)


@data.command("add")
@click.argument("source")
@click.option("--as", "name", help="Name of the folder below data/raw.  [default: the source's name]")
@click.option("--split-from-folders", is_flag=True, help="Keep the source's separation: train/ and test/, or alike.")
@click.pass_obj
def data_add(workspace: Path, source: str, name: str | None, split_from_folders: bool) -> None:
    """Pack the images of SOURCE into data/raw and track them with DVC.

    SOURCE is a folder (class subfolders, or flat, with or without a CSV, JSONL or Parquet table of labels), a zip, tar
    or tar.gz of one, IDX files, .npy or .npz, CIFAR's batches, a Parquet dataset with images, a WebDataset tar,
    builtin:digits, or an address: https://, s3:// ..., dvc://REPOSITORY#PATH. Adding again appends. See docs/data.md.
    """
    from flows.data.add import add

    version = add(workspace, source, name, split_from_folders=split_from_folders)
    click.echo(f"data/raw is now version {version.md5} ({version.files:,} files, {version.size_bytes / 1e6:,.1f} MB)")


@data.command("remove")
@click.argument("name")
@click.argument("patterns", nargs=-1)
@click.option(
    "--list", "list_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file with one a line."
)
@click.option("--all", "takes_all", is_flag=True, help="Instead of patterns: all of NAME.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.pass_obj
def data_remove(
    workspace: Path, name: str, patterns: tuple[str, ...], list_file: Path | None, takes_all: bool, dry_run: bool
) -> None:
    """Take images out of data/raw/NAME, and track what is left with DVC.

    PATTERNS are names as the manifest has them, CLASS/file, or globs: 'hat/*' is a class ('*' stands for slashes too).
    --list names a file with one a line. Older versions stay in DVC's cache.
    """
    from flows.data.add import remove

    if takes_all and (patterns or list_file):
        raise click.UsageError("--all takes all of NAME: give it, or patterns, or --list")
    version = remove(workspace, name, None if takes_all else patterns, list_file=list_file, dry_run=dry_run)
    if version:
        click.echo(
            f"data/raw is now version {version.md5} ({version.files:,} files, {version.size_bytes / 1e6:,.1f} MB)"
        )


for command in main.commands.values():
    _accept_workspace(command)


def _planned(workspace: Path, stages: tuple[str, ...]) -> "Plan":
    from flows.interrupts import deferred_interrupt

    with deferred_interrupt():
        from flows.plan import plan_of
        from flows.workspace import check_lock_file, checked_config

    checked_config(workspace)
    check_lock_file(workspace)
    return plan_of(workspace, stages)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(click.style(message, fg="red"), err=True)
    sys.exit(status)


def _raise_exit(number: int, _frame: object) -> NoReturn:
    asked_to_end.set()  # the exit is lost where it is raised in somebody's __del__
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()

"""The commands `genai search`, `genai search show` and `genai search apply`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.completion import completing
from flows.json_output import json_option, print_json
from flows.prefect_log import quiet_prefect
from flows.run_cli import check_executor, checked_plan, executor_option
from flows.table import print_table

if TYPE_CHECKING:
    from optuna.study import Study


DEFAULT_TRIALS = 20
MOST_PARALLEL = 64
BEFORE = "settings before the search"


def _studies(workspace: Path) -> list[str]:
    return sorted(path.parent.name for path in (workspace / ".genai/search").glob("*/study.db"))


_STUDY = click.option(
    "--study", metavar="NAME", help="The study.  [default: the last one here]", shell_complete=completing(_studies)
)
_STORAGE = click.option(
    "--storage",
    metavar="URL",
    envvar="GENAI_SEARCH_STORAGE",
    show_envvar=True,
    help="A database that several machines share: postgresql+psycopg://...  [default: a file in .genai/search]",
)


@click.group(invoke_without_command=True)
@click.option("--trials", type=click.IntRange(min=1), help=f"Until the study has so many.  [default: {DEFAULT_TRIALS}]")
@click.option(
    "--minutes", type=click.FloatRange(min=0.0, min_open=True), help="No trial begins later; the running ones finish."
)
@click.option(
    "--parallel", type=click.IntRange(1, MOST_PARALLEL), default=1, show_default=True, help="Trials at a time."
)
@click.option("--study", metavar="NAME", help="Its name.  [default: a hash of space, code, data and parameters]")
@_STORAGE
@executor_option("compute.executor")
@json_option
@click.pass_context
def search(
    context: click.Context,
    trials: int | None,
    minutes: float | None,
    parallel: int,
    study: str | None,
    storage: str | None,
    executor: str | None,
    as_json: bool,
) -> None:
    """Search for better settings.

    Tries values of the keys that search.space in params.yaml names. Each trial is a run on a snapshot, and an
    experiment of DVC (dvc exp show). Trials that fall behind while they train are ended early. An interrupted search
    continues where it was. docs/search.md explains it.
    """
    if context.invoked_subcommand is not None:
        return
    if trials is None and minutes is None:
        trials = DEFAULT_TRIALS
    workspace: Path = context.obj
    from flows.interrupts import deferred_interrupt

    with deferred_interrupt():
        from flows.search.space import checked_settings
        from flows.services.server import configured_server, ensure_prefect_api

        settings = checked_settings(workspace)  # starting a server takes seconds
        executor = executor or settings.config.compute.executor
        check_executor(executor, configured_server())
        quiet_prefect()
    ensure_prefect_api()  # a Ctrl-C ends its wait at once
    with deferred_interrupt():
        from flows.search.search import Request
        from flows.search.search import search as run_search

    request = Request(trials, minutes, parallel, study, storage, executor)
    live = sys.stdout.isatty() and not as_json
    try:
        found = run_search(workspace, request, click.echo, checked_plan(workspace, executor), live=live)
    except (KeyboardInterrupt, SystemExit):
        click.echo("stopped; the same command continues the study, and interrupted trainings resume", err=True)
        raise
    if as_json:
        print_json({**found.values, "page": str(found.page)})
        return
    show_study(found.values, found.page)


@search.command()
@_STUDY
@_STORAGE
@json_option
@click.pass_obj
def show(workspace: Path, study: str | None, storage: str | None, as_json: bool) -> None:
    """Show all trials of a study and what they found.

    Also writes the study's page again.
    """
    from flows.search.search import write_page
    from flows.search.study import answering

    with answering():
        name, opened = _opened(workspace, study, storage)
        values, page = write_page(workspace, opened, name)
    if as_json:
        print_json({**values, "page": str(page)})
        return
    _print_trials(values)
    show_study(values, page)


@search.command("apply")
@click.argument("trial", type=click.IntRange(min=0), required=False)
@_STUDY
@_STORAGE
@click.pass_obj
def apply_trial(workspace: Path, trial: int | None, study: str | None, storage: str | None) -> None:
    """Write a trial's values into params.yaml.

    Its other lines and comments stay. TRIAL: its number. Default: the one with the smallest distance. `genai run` then
    takes the trained model from the cache, if nothing else has changed.
    """
    from flows.search.params_text import with_values
    from flows.search.results import chosen_row, rows_of
    from flows.search.study import answering, otherwise_of
    from flows.search.table import values_text
    from flows.whole_file import write_file
    from genai_core.config import PARAMS_FILE

    with answering():
        name, opened = _opened(workspace, study, storage)
        row, otherwise = chosen_row(rows_of(opened), trial), otherwise_of(opened)
    path = workspace / PARAMS_FILE
    old = path.read_text()
    new = with_values(old, {**otherwise, **row.values})
    if new == old:
        click.echo(f"{PARAMS_FILE} has the values of trial {row.number} of study {name} already")
        return
    write_file(path, new)
    click.echo(f"{PARAMS_FILE} has the values of trial {row.number} of study {name} now: {values_text(row.values)}")
    if row.distance is None:
        click.echo(f"note: that trial was not measured: it {row.state if row.state == 'failed' else 'was pruned'}")
    click.echo("`genai plan` shows what a run does")


def show_study(values: dict[str, Any], page: Path) -> None:
    """Print what a study has found: the winner, measured again, beside the present settings; then the page."""
    from flows.search.table import values_text

    trials = {trial["number"]: trial for trial in values["trials"]}
    ends = [trial["state"] for trial in trials.values()]
    counts = ", ".join(f"{ends.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    click.echo(f"\nstudy {values['study']}: {counts}")
    if unrecorded := [str(trial["number"]) for trial in trials.values() if not trial["commit"]]:
        click.echo(f"git could not record trials {', '.join(unrecorded)}, so they are no experiments of DVC")
    if values["best"] is None:
        click.echo("no trial is complete, so there is no winner")
        return
    best = trials[values["best"]]
    click.echo(f"winner: trial {best['number']}: {values_text(best['values'])}")
    rows = []
    for number, fresh in values["fresh"].items():
        trial = trials[int(number)]
        what = "winner" if trial is best else BEFORE
        what += f", which is the {BEFORE}" if trial is best and trial["present"] else ""
        rows.append([f"trial {number}, {what}", *map(_figure, (trial["distance"], fresh["distance"]))])
        rows[-1] += [*map(_figure, (trial["held_out"], fresh["held_out"]))]
    if rows:
        metric = values["metric"]
        print_table(rows, ["", metric, "new seeds", "held-out images", "both new"], right={1, 2, 3, 4})
        click.echo("the search chose by the first column; the last one has new seeds and images, so it is the fair one")
    if values["front"]:
        front = [
            f"{n} ({_figure(trials[n]['distance'])}, {trials[n]['seconds_per_image']:.2g} s)" for n in values["front"]
        ]
        click.echo(f"front: trials {', '.join(front)}")
    click.echo(f"\nPage: {page}")
    if best["present"]:
        click.echo("No trial was better than the settings before the search")
    else:
        click.echo(f"To use it: genai search apply {best['number']}")


def _print_trials(values: dict[str, Any]) -> None:
    from flows.search.table import cell

    names = values["names"]
    rows = []
    for trial in values["trials"]:
        cells = [str(trial["number"]), trial["state"], _figure(trial["distance"]), f"{trial['seconds']:.0f}"]
        cells += [cell(trial["values"][key]) if key in trial["values"] else "" for key in names]
        rows.append([*cells, trial["fault"]])
    head = ["trial", "", values["metric"], "s", *names.values(), ""]
    print_table(rows, head, right={0, 2, 3})


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _opened(workspace: Path, study: str | None, storage: str | None) -> "tuple[str, Study]":
    from flows.search.study import FOLDER, checked_name, latest_study, read_study

    name = checked_name(study) if study else latest_study(workspace)
    return name, read_study(workspace / FOLDER / name, name, storage)

"""The command `genai`. To start quickly, it never imports torch, and prefect and dvc only where needed."""

import os
import signal
from pathlib import Path
from typing import NoReturn

import click
from click.core import ParameterSource

from flows.advising.cli import init, start
from flows.command_group import WORKSPACE, Commands, checkout_around
from flows.data import cli as data_cli
from flows.gc import cli as gc_cli
from flows.git import HOOK_VARIABLES
from flows.interrupts import asked_to_end
from flows.lineage import cli as lineage_cli
from flows.measuring import backfill_cli, compare_cli, evaluate_cli
from flows.new_cli import new
from flows.registry import base_cli, generate_cli
from flows.registry import cli as registry_cli
from flows.retraining import cli as retrain_cli
from flows.run_cli import plan, resume, run
from flows.runs import cli as runs_cli
from flows.search import cli as search_cli
from flows.services import cli as services_cli
from flows.serving import cli as serving_cli
from flows.watching import cli as watch_cli


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="genai-pipeline")
@click.option(
    "--workspace",
    type=WORKSPACE,
    default=Path(),
    envvar="GENAI_WORKSPACE",
    help="The checkout to work on.  [default: $GENAI_WORKSPACE, or the one around this folder]",
)
@click.option("--debug", is_flag=True, envvar="GENAI_DEBUG", help="Show the traceback of every error.")
@click.pass_context
def main(context: click.Context, workspace: Path, debug: bool) -> None:  # noqa: ARG001 - Commands reads debug
    """Keep generative image models in production: data, training, evaluation, promotion, generation.

    \b
    genai start PATH        from your images to a report, in one command
    genai data add PATH     add your images
    genai init              look at them and this machine, and propose params.yaml
    genai plan              show what would run, and why
    genai run               bring everything up to date
    """
    signal.signal(signal.SIGTERM, _raise_exit)
    for name in HOOK_VARIABLES:  # also for DVC and the other children
        os.environ.pop(name, None)
    is_given = context.get_parameter_source("workspace") is not ParameterSource.DEFAULT
    context.obj = workspace.resolve() if is_given else checkout_around(workspace.resolve())


runs_cli.runs.add_command(resume)
main.add_section("Begin", {"new": new, "start": start, "init": init})
main.add_section("Add data", {"data": data_cli.data, "watch": watch_cli.watch})
main.add_section(
    "Train and generate",
    {
        "plan": plan,
        "run": run,
        "base": base_cli.base,
        "search": search_cli.search,
        "generate": generate_cli.generate,
        "status": runs_cli.status,
        "logs": runs_cli.logs,
        "runs": runs_cli.runs,
    },
)
main.add_section(
    "Evaluate and trace",
    {
        "evaluate": evaluate_cli.evaluate,
        "compare": compare_cli.compare,
        "backfill": backfill_cli.backfill,
        "lineage": lineage_cli.lineage,
    },
)
main.add_section(
    "Put a model into production",
    {
        "promote": registry_cli.promote,
        "rollback": registry_cli.rollback,
        "history": registry_cli.history,
        "registry": registry_cli.registry,
        "retrain": retrain_cli.retrain,
        "approve": retrain_cli.approve,
    },
)
main.add_section("Serve", {"serve": serving_cli.serve})
main.add_section(
    "Operate",
    {
        "up": services_cli.up,
        "down": services_cli.down,
        "doctor": services_cli.doctor,
        "workers": services_cli.workers,
        "gc": gc_cli.gc,
    },
)


def _raise_exit(number: int, _frame: object) -> NoReturn:
    asked_to_end.set()  # Python drops a SystemExit that is raised inside a __del__
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()

"""The commands `genai up`, `genai down` and `genai doctor`."""

import json
import sys
from pathlib import Path

import click

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond loopback an auth string has to be set.")
@click.option(
    "--postgres",
    envvar="GENAI_POSTGRES",
    metavar="URL",
    help="The server's database, for more than one machine; from GENAI_POSTGRES, too.  [default: SQLite in .genai]",
)
@click.pass_obj
def up(workspace: Path, port: int, host: str, postgres: str | None) -> None:
    """Start Prefect's server, a worker and the deployments of deployments/prefect.yaml, and wait until all are well.

    What runs already is left as it is; deployments are brought to what the file says. No schedule there is active
    until you make it so: nothing is trained unasked. URL: postgresql://USER:PASSWORD@HOST:PORT/DATABASE.
    """
    from flows.services.local import up as start

    state = start(workspace, host, port, click.echo, database=postgres)
    for service in state.services:
        click.echo(f"{service.name}: process {service.pid}")
    click.echo(f"\nPrefect is at {state.url.removesuffix('/api')}; for runs from this terminal:")
    click.echo(f"  export PREFECT_API_URL={state.url}")


@click.command()
@click.pass_obj
def down(workspace: Path) -> None:
    """Stop what `genai up` started in this checkout, and nothing else."""
    from flows.services.local import down as stop

    stopped = stop(workspace)
    click.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing of this checkout was running")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def doctor(workspace: Path, as_json: bool) -> None:
    """Look for what keeps runs from working: versions, locks, server, schedules, data not pushed, disk, GPU.

    Changes nothing. Exit status 1 when something fails, 0 when there are warnings only.
    """
    from flows.services.doctor import examine

    checks = examine(workspace)
    if as_json:
        click.echo(json.dumps([vars(check) for check in checks], indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            click.echo(
                f"{click.style(check.status.ljust(4), fg=COLOURS[check.status])}  {check.name:<{width}}  {check.found}"
            )
            if check.todo:
                click.echo(f"{'':<{width + 8}}-> {check.todo}")
    sys.exit(int(any(check.status == "fail" for check in checks)))

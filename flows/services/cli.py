"""The commands `genai up`, `genai down`, `genai doctor` and `genai workers`."""

import os
import sys
from pathlib import Path

import click

from flows.json_output import json_option, print_json
from flows.table import print_table

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Other than loopback: needs an auth string.")
@click.option(
    "--postgres",
    envvar="GENAI_POSTGRES",
    metavar="URL",
    help="The server's database, for more than one machine.  [default: $GENAI_POSTGRES, or SQLite in .genai]",
)
@click.pass_obj
def up(workspace: Path, port: int, host: str, postgres: str | None) -> None:
    """Start Prefect's server, a worker and the deployments.

    Also `genai serve`, if params.yaml asks for it.

    Deploys deployments/prefect.yaml and waits until all are ready. Keeps running services, and updates the deployments
    from the file. Schedules are inactive until you activate them. URL:
    postgresql://USER:PASSWORD@HOST:PORT/DATABASE.
    """
    from flows.services.local import up as start

    state = start(workspace, host, port, click.echo, database=postgres)
    for service in state.services:
        click.echo(f"{service.name}: process {service.pid}")
    click.echo(f"\nPrefect is at {state.url.removesuffix('/api')}. To use it from this terminal:")
    for line in client_variables(state.url):
        click.echo(f"  {line}")


def client_variables(url: str) -> list[str]:
    """Return the shell lines that a client of this server needs, without the auth string itself."""
    from flows.services.settings import AUTH, SERVER_AUTH, server_auth

    lines = [f"export PREFECT_API_URL={url}"]
    if server_auth():
        in_shell = bool(os.environ.get(SERVER_AUTH))
        value = f'"${SERVER_AUTH}"' if in_shell else f"USER:PASSWORD  # {SERVER_AUTH} of your Prefect settings"
        lines.append(f"export {AUTH}={value}")
    return lines


@click.command()
@click.pass_obj
def down(workspace: Path) -> None:
    """Stop only the services that `genai up` started in this checkout."""
    from flows.services.local import down as stop

    stopped = stop(workspace)
    click.echo(f"stopped: {', '.join(stopped)}" if stopped else "no service of this checkout is running")


@click.command()
@click.option("--worker", is_flag=True, help="Check this machine as a worker for runs of other machines.")
@json_option
@click.pass_obj
def doctor(workspace: Path, worker: bool, as_json: bool) -> None:
    """Check what runs need: versions, locks, server, data, disk, GPU.

    Changes nothing. Exit status 1 if a check fails, 0 if there are only warnings. With --worker: packages, git and DVC
    remotes, server, clock, disk, GPU; it writes a small file to the DVC remote and deletes it.
    """
    from flows.services.doctor import examine, examine_worker

    checks = examine_worker(workspace) if worker else examine(workspace)
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        from rich.text import Text

        rows = []
        for check in checks:
            todo = f"\n-> {check.todo}" if check.todo else ""
            rows.append((Text(check.status, COLOURS[check.status]), check.name, check.found + todo))
        print_table(rows)
    sys.exit(int(any(check.status == "fail" for check in checks)))


@click.command()
@json_option
@click.pass_obj
def workers(workspace: Path, as_json: bool) -> None:
    """Show the workers of compute.pools, and the jobs that they have.

    For runs with `--executor pool`. Asks the server in PREFECT_API_URL, or the one that `genai up` started.
    """
    from flows.services.workers import look_at_pools

    found = look_at_pools(workspace)
    if as_json:
        print_json({name: [vars(one) for one in getattr(found, name)] for name in ("workers", "jobs")})
        return
    for pool in found.missing:
        click.echo(f"{pool}: the server has no such work pool; its first worker makes it", err=True)
    if not found.asked:
        click.echo("compute.pools in params.yaml is empty: no work pool was looked at", err=True)
    rows = [[one.pool, one.name, one.status, f"{one.silent_s:.0f} s ago"] for one in found.workers]
    print_table(rows, ["pool", "worker", "status", "last word"])
    if found.asked and not rows:
        click.echo("no worker has ever been there; start one: prefect worker start --pool NAME --type process")
    if found.jobs:
        click.echo()
        jobs = [
            [one.run, f"{one.stage} {one.part}".rstrip(), one.attempt, one.state, one.host, one.doing]
            for one in found.jobs
        ]
        print_table(jobs, ["run", "stage", "attempt", "state", "machine", ""])

"""The command `genai watch`."""

import sys
import time
from pathlib import Path

import click

EXIT_NEWS = 3


@click.command()
@click.option("--once", is_flag=True, help="Look once; exit status 0: nothing new, 3: there is something.")
@click.option("--every", "every_s", type=click.FloatRange(min=1.0), default=300.0, show_default=True, metavar="SECONDS")
@click.option("--source", metavar="PATH", help="A folder or archive that grows.  [default: watch.source]")
@click.option("--add/--no-add", default=None, help="Take in what is new and commit data/raw.dvc.  [default: watch.add]")
@click.pass_obj
def watch(workspace: Path, once: bool, every_s: float, source: str | None, add: bool | None) -> None:
    """Say when there is data that production was not made of; downloads nothing.

    With a Prefect server (PREFECT_API_URL, or one that `genai up` started here), news becomes an event, which starts
    the deployment `retrain`. On a server the deployment `watch` does the same by a schedule.
    """
    news = _look(workspace, source, add)
    if once:
        sys.exit(EXIT_NEWS if news else 0)
    while True:
        time.sleep(every_s)
        _look_again(workspace, source, add)


def _look_again(workspace: Path, source: str | None, add: bool | None) -> None:
    """What was well at the first look and is not at this one, a folder that is not mounted, may be at the next."""
    from flows.data.add import DataError
    from flows.git import GitError
    from flows.registry.read import RegistryError
    from flows.services.server import ServerError
    from flows.services.settings import SettingsError
    from flows.watching.folder import WatchError
    from genai_core.config import ConfigError

    try:
        _look(workspace, source, add)
    except (ConfigError, DataError, GitError, RegistryError, ServerError, SettingsError, WatchError) as error:
        click.echo(click.style(f"{error}; looks again later", fg="red"), err=True)


def _look(workspace: Path, source: str | None, add: bool | None) -> bool:
    from flows.watching.arrivals import arrivals, take
    from flows.watching.news import look, read_memory
    from flows.workspace import checked_config

    config = checked_config(workspace).watch
    found = arrivals(workspace, source or config.source, config.settle_s)
    if found is not None:
        click.echo(found.sentence())
        if found.can_be_taken and (config.add if add is None else add):
            click.echo(take(workspace, found, config.name))
    news = look(workspace)
    for fault in news.faults:
        click.echo(click.style(fault, fg="yellow"), err=True)
    click.echo(news.sentence())
    if news.is_new and not read_memory(workspace).is_told(news, config.repeat_hours, time.time()):
        _announce(workspace)
    return news.is_new


def _announce(workspace: Path) -> None:
    """Send the event, where a server is there to take it: the look is repeated by the flow, as on a schedule."""
    import os

    from flows.redact import without_secrets
    from flows.services.settings import configured_api_url
    from flows.services.started import read_state

    state = read_state(workspace)
    url = configured_api_url() or (state.url if state and state.living() else None)
    if url is None:
        click.echo("no Prefect server is configured or up, so nobody was told: genai up, or genai retrain")
        return
    os.environ["PREFECT_API_URL"] = url
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    from flows.services.server import ensure_prefect_api

    ensure_prefect_api()
    from flows.watching.watch import watch as flow

    state_of_run = flow(str(workspace), add=False, return_state=True)
    told = f"told the Prefect server at {without_secrets(url)}"
    click.echo(told if state_of_run.is_completed() else str(state_of_run.message))

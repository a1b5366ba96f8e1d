"""The command `genai watch`."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from flows.json_output import json_option, print_json
from flows.prefect_log import quiet_prefect

EXIT_NEWS = 3
_SEND_S = 10.0


@click.command()
@click.option("--once", is_flag=True, help="Look once. Exit status 0: nothing new; 3: there is new data.")
@click.option("--every", "every_s", type=click.FloatRange(min=1.0), default=300.0, show_default=True, metavar="SECONDS")
@click.option("--source", metavar="PATH", help="A folder or archive that grows.  [default: watch.source]")
@click.option("--add/--no-add", default=None, help="Add new images and commit data/raw.dvc.  [default: watch.add]")
@json_option
@click.pass_obj
def watch(workspace: Path, once: bool, every_s: float, source: str | None, add: bool | None, as_json: bool) -> None:
    """Report data that production was not trained on. Downloads nothing.

    With a Prefect server (PREFECT_API_URL, or one that `genai up` started here), new data emits an event, which starts
    the deployment `retrain`. On a server, the deployment `watch` does the same on a schedule.
    """
    values = _look(workspace, source, add)
    if as_json:
        print_json(values, one_line=not once)
    if once:
        sys.exit(EXIT_NEWS if values["is_new"] else 0)
    while True:
        time.sleep(every_s)
        values = _look_again(workspace, source, add)
        if as_json:
            print_json(values, one_line=True)


def _look_again(workspace: Path, source: str | None, add: bool | None) -> dict[str, Any]:
    """Check again. An error that the first check did not have, such as an unmounted folder, may be temporary."""
    from flows.data.add import DataError
    from flows.git import GitError
    from flows.registry.read import RegistryError
    from flows.services.server import ServerError
    from flows.services.settings import SettingsError
    from flows.watching.folder import WatchError
    from genai_core.config import ConfigError

    try:
        return _look(workspace, source, add)
    except (ConfigError, DataError, GitError, RegistryError, ServerError, SettingsError, WatchError) as error:
        click.echo(click.style(f"{error}; the next check retries", fg="red"), err=True)
        return {"error": str(error)}


def _look(workspace: Path, source: str | None, add: bool | None) -> dict[str, Any]:
    """Check, print and announce. Return the values for `--json`."""
    from flows.watching.arrivals import add_arrivals, arrivals
    from flows.watching.news import look, read_memory
    from flows.workspace import checked_config

    config = checked_config(workspace).watch
    found = arrivals(workspace, source or config.source, config.settle_s)
    is_added = False
    if found is not None:
        click.echo(found.sentence())
        if found.can_be_added and (config.add if add is None else add):
            click.echo(add_arrivals(workspace, found, config.name))
            is_added = True
    news = look(workspace)
    for fault in news.faults:
        click.echo(click.style(fault, fg="yellow"), err=True)
    click.echo(news.sentence())
    announced_at = None
    if news.is_new and not read_memory(workspace).is_announced(news, config.repeat_hours, time.time()):
        announced_at = _announce(workspace)
    watched = found and {"path": found.source, "files": found.folder.files, "changed": found.changed, "added": is_added}
    return {
        "is_new": news.is_new,
        "production": news.production or None,
        "production_data": news.old or None,
        "newest_data": news.new or None,
        "commit": news.commit,
        "where": news.where,
        "source": watched,
        "told": announced_at,
        "warnings": list(news.faults),
    }


def _announce(workspace: Path) -> str | None:
    """Emit the event if there is a server, and return its address. The flow checks again, as on a schedule."""
    from flows.redact import without_secrets
    from flows.services.processes import read_state
    from flows.services.settings import configured_api_url

    state = read_state(workspace)
    url = configured_api_url() or (state.url if state and state.living() else None)
    if url is None:
        click.echo("no event was emitted, because no Prefect server is configured or running; run `genai retrain`")
        return None
    with _server_at(url):
        from prefect.events.worker import EventsWorker

        from flows.watching.watch import watch as flow

        state_of_run = flow(str(workspace), add=False, return_state=True)
        EventsWorker.drain_all(timeout=_SEND_S, at_exit=False)  # else it would keep its connection to this server
    if not state_of_run.is_completed():
        click.echo(str(state_of_run.message))
        return None
    click.echo(f"emitted an event at the Prefect server {without_secrets(url)}")
    return without_secrets(url)


@contextmanager
def _server_at(url: str) -> Iterator[None]:
    """Use this Prefect server in the body only: the next announcement may find another one. Raises ServerError."""
    import os

    from flows.services.server import ensure_prefect_api
    from flows.services.settings import URL

    configured = os.environ.get(URL)
    os.environ[URL] = url
    quiet_prefect("WARNING")
    try:
        ensure_prefect_api()
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: url}):  # Prefect reads the environment only when it is imported
            yield
    finally:
        if configured is None:
            del os.environ[URL]
        else:
            os.environ[URL] = configured

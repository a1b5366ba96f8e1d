"""The flow `watch`: find data that production was not trained on, optionally add it, and announce it."""

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.watching.arrivals import Arrivals, add_arrivals, arrivals
from flows.watching.news import News, look, read_memory, remember_announced
from flows.watching.notify import Event, notify
from flows.workspace import checked_config

NEW_DATA = "genai.data.new"
PRODUCTION_WORSE = "genai.production.worse"


@flow(name="watch", flow_run_name="look for new data", persist_result=False)
def watch(workspace: str = ".", source: str | None = None, add: bool | None = None) -> State[None]:
    """Compare the newest data with what production was trained on. Downloads nothing.

    New data emit the event genai.data.new, which starts the deployment `retrain`, and a notification. The same news is
    announced once per watch.repeat_hours. Raises ConfigError, GitError or WatchError.

    Args:
        workspace: The checkout, relative to where the worker runs.
        source: A folder or archive that grows, instead of watch.source in params.yaml.
        add: Add new images and commit data/raw.dvc, instead of watch.add.
    """
    root = Path(workspace).resolve()
    config = checked_config(root)
    logger = get_run_logger()
    found = arrivals(root, source or config.watch.source, config.watch.settle_s)
    if found is not None:
        logger.info(found.sentence())
        if found.can_be_added and (config.watch.add if add is None else add):
            logger.info(add_arrivals(root, found, config.watch.name))
    news = look(root)
    for fault in news.faults:
        logger.warning(fault)
    announced = news.is_new and read_memory(root).is_announced(news, config.watch.repeat_hours, time.time())
    if news.is_new and not announced:
        announce(root, news)
        for failure in notify(Event("news", news.sentence(), facts=_facts(news)), config.notify):
            logger.warning("notification failed: %s", failure)
    create_markdown_artifact(_page(news, found, announced=announced), key="watch", description=news.sentence())
    return Completed(name="News" if news.is_new and not announced else "Nothing new", message=news.sentence())


def announce(root: Path, news: News) -> None:
    """Emit the event, and remember it."""
    payload = {"workspace": str(root), "old_version": news.old, "new_version": news.new, "reason": news.sentence()}
    emit(NEW_DATA, root, {**payload, "production": news.production, "commit": news.commit})
    remember_announced(root, news)


def emit(event: str, root: Path, payload: dict[str, Any]) -> None:
    """Emit an event about a checkout. Automations match the resource's name."""
    emit_event(event, resource={"prefect.resource.id": f"genai.checkout.{root.name}"}, payload=payload)


def _facts(news: News) -> dict[str, str]:
    return {"production": news.production or "none", "trained on": news.old or "nothing", "newest": news.new}


def _page(news: News, found: Arrivals | None, *, announced: bool) -> str:
    lines = [f"## {news.sentence()}", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | `{value}` |" for name, value in _facts(news).items()]
    lines += [f"| commit | `{news.commit[:10]}`, {news.where} |"]
    lines += ["", found.sentence()] if found else []
    lines += ["", "Announced already; announced again after `watch.repeat_hours`."] if announced else []
    return "\n".join([*lines, *(f"\n**{fault}**" for fault in news.faults)])

"""The flow `watch`: look for data that production was not made of, take it in where that is wanted, and tell."""

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.watching.arrivals import Arrivals, arrivals, take
from flows.watching.news import News, look, read_memory, remember_told
from flows.watching.notify import Event, notify
from flows.workspace import checked_config

NEW_DATA = "genai.data.new"
PRODUCTION_WORSE = "genai.production.worse"


@flow(name="watch", flow_run_name="look for new data", persist_result=False)
def watch(workspace: str = ".", source: str | None = None, add: bool | None = None) -> State[None]:
    """Compare the newest data with what production was trained on. Downloads nothing.

    News become an event, genai.data.new, which starts the deployment `retrain`, and a notification. The same news is
    told once in watch.repeat_hours. Raises ConfigError, GitError or WatchError.

    Args:
        workspace: The checkout, relative to where the worker runs.
        source: A folder or archive that grows, instead of watch.source in params.yaml.
        add: Take in what is new and commit data/raw.dvc, instead of watch.add.
    """
    root = Path(workspace).resolve()
    config = checked_config(root)
    logger = get_run_logger()
    found = arrivals(root, source or config.watch.source, config.watch.settle_s)
    if found is not None:
        logger.info(found.sentence())
        if found.can_be_taken and (config.watch.add if add is None else add):
            logger.info(take(root, found, config.watch.name))
    news = look(root)
    for fault in news.faults:
        logger.warning(fault)
    told = news.is_new and read_memory(root).is_told(news, config.watch.repeat_hours, time.time())
    if news.is_new and not told:
        announce(root, news)
        for failure in notify(Event("news", news.sentence(), facts=_facts(news)), config.notify):
            logger.warning("not told: %s", failure)
    create_markdown_artifact(_page(news, found, told=told), key="watch", description=news.sentence())
    return Completed(name="News" if news.is_new and not told else "Nothing new", message=news.sentence())


def announce(root: Path, news: News) -> None:
    """Emit the event, and remember that it was."""
    payload = {"workspace": str(root), "old_version": news.old, "new_version": news.new, "reason": news.sentence()}
    emit(NEW_DATA, root, {**payload, "production": news.production, "commit": news.commit})
    remember_told(root, news)


def emit(event: str, root: Path, payload: dict[str, Any]) -> None:
    """An event about a checkout; automations match the resource's name."""
    emit_event(event, resource={"prefect.resource.id": f"genai.checkout.{root.name}"}, payload=payload)


def _facts(news: News) -> dict[str, str]:
    return {"production": news.production or "none", "made of": news.old or "nothing", "newest": news.new}


def _page(news: News, found: Arrivals | None, *, told: bool) -> str:
    lines = [f"## {news.sentence()}", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | `{value}` |" for name, value in _facts(news).items()]
    lines += [f"| commit | `{news.commit[:10]}`, {news.where} |"]
    lines += ["", found.sentence()] if found else []
    lines += ["", "This was told already; it is told again after `watch.repeat_hours`."] if told else []
    return "\n".join([*lines, *(f"\n**{fault}**" for fault in news.faults)])

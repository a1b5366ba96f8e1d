"""Which queued runs are coalesced with a run that starts, and what it takes over; with the real server."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows.watching.queued import Absorbed, absorb_queued
from tests.flows.conftest import DVC_WARNS, Server, asked

pytestmark = DVC_WARNS
found: list[Absorbed] = []


@flow(name="waits", persist_result=False)
def waits(
    workspace: str = ".",
    reason: str = "",
    new_version: str = "",
    asked: bool = False,
    action: str | None = None,
    plan_only: bool = False,
) -> None:
    """Like the start of `retrain`."""
    found.append(absorb_queued())


@pytest.fixture
def deployment(server: Server) -> Iterator[UUID]:
    """A deployment for one test, with no queued runs."""
    found.clear()
    settings = {PREFECT_API_URL: server.url, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client.create_deployment(client.create_flow(waits), f"d-{uuid4()}", parameters={"workspace": "."})


def start(deployment: UUID, *, by_event: bool, **parameters: Any) -> str:
    """Queue a run as an automation or as a person does; return its id."""
    headers = {"Content-Type": "application/json"}
    if by_event:
        name = base64.b64encode(b"genai: news").decode()
        headers |= {"Prefect-Automation-Id": str(uuid4()), "Prefect-Automation-Name": name}
    url = f"{PREFECT_API_URL.value()}/deployments/{deployment}/create_flow_run"
    body = {"parameters": {"workspace": ".", **parameters}, "state": {"type": "SCHEDULED"}}
    return str(asked(urllib.request.Request(url, json.dumps(body).encode(), headers))["id"])


def begin(run_id: str) -> Absorbed:
    run_flow(waits, flow_run=read(run_id), parameters=read(run_id).parameters)
    return found[-1]


def read(run_id: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(run_id))


def state(run_id: str) -> str:
    run = read(run_id)
    assert run.state is not None
    return run.state.type.value


def test_news_takes_over_the_forced_retraining_of_a_worse_production(deployment: UUID) -> None:
    first = start(deployment, by_event=True, reason="more data", new_version="a")
    fall = start(deployment, by_event=True, reason="v1 is worse", new_version="a", asked=True)
    news = start(deployment, by_event=True, reason="more data", new_version="b")
    absorbed = begin(first)
    assert absorbed.asked
    assert sorted(absorbed.reasons) == ["more data", "v1 is worse"]
    assert len(absorbed.names) == 2
    assert [state(run) for run in (first, fall, news)] == ["COMPLETED", "CANCELLED", "CANCELLED"]


def test_news_alone_forces_nothing(deployment: UUID) -> None:
    first, second = (start(deployment, by_event=True, reason="more data") for _ in range(2))
    assert begin(first) == Absorbed((read(second).name,), asked=False, reasons=("more data",))


def test_runs_with_other_parameters_are_kept(deployment: UUID) -> None:
    """A plan does not handle an event, and an event does not handle a request to fine-tune."""
    plans = start(deployment, by_event=False, plan_only=True, action=None)
    event = start(deployment, by_event=True, reason="v1 is worse", asked=True)
    person = start(deployment, by_event=False)
    tunes = start(deployment, by_event=True, action="finetune")
    assert begin(plans) == Absorbed()
    assert begin(person) == Absorbed((read(event).name,), asked=True, reasons=("v1 is worse",))
    assert [state(run) for run in (event, tunes)] == ["CANCELLED", "SCHEDULED"]


def test_nothing_is_taken_over_outside_a_deployment(deployment: UUID) -> None:
    waits()
    assert found == [Absorbed()]
    assert absorb_queued() == Absorbed()

"""What locust's clients ask for. locust imports this file by itself (serving_locust.py starts it).

GENAI_LOAD in the environment is JSON: "kind" is genai or gradio; "model" and "images" of a request; "out" is the file
for the durations of all requests.
"""

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, task

LOAD = json.loads(os.environ["GENAI_LOAD"])
SEEDS = itertools.count()
DONE: list[tuple[str, float, float]] = []  # status, seconds, and when it was answered
BEGUN: list[float] = []  # when all clients were there


@events.spawning_complete.add_listener
def _begun(**_: Any) -> None:
    BEGUN.append(time.time())


@events.quitting.add_listener
def _write(**_: Any) -> None:
    Path(LOAD["out"]).write_text(json.dumps({"begun": BEGUN[0], "done": DONE}))


def _count(status: str, begun: float) -> None:
    DONE.append((status, time.perf_counter() - begun, time.time()))


class Client(FastHttpUser):
    """A client that asks again as soon as it has its answer."""

    abstract = True
    network_timeout = connection_timeout = 120.0
    wait_time = constant(0)


class GenaiClient(Client):
    """Asks `genai serve` for images."""

    abstract = LOAD["kind"] != "genai"

    @task
    def draw(self) -> None:
        begun = time.perf_counter()
        body = {"model": LOAD["model"], "count": LOAD["images"], "seed": next(SEEDS) * LOAD["images"]}
        with self.client.post("/v1/draw", json=body, catch_response=True) as answer:
            answer.success()  # statuses are counted below
        _count(str(answer.status_code), begun)


class GradioClient(Client):
    """Asks Gradio for one image, in the two steps of its API: a call, and the events of its answer."""

    abstract = LOAD["kind"] != "gradio"

    @task
    def draw(self) -> None:
        begun = time.perf_counter()
        call = self.client.post("/gradio_api/call/draw", json={"data": [next(SEEDS)]}).json()
        events_of = self.client.get(f"/gradio_api/call/draw/{call['event_id']}")
        _count("200" if "event: complete" in (events_of.text or "") else "error", begun)

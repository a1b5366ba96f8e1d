"""Server-sent events."""

import json
from collections.abc import Iterator
from typing import Any

from tests.flows.serving.served import Server


def events(server: Server, **values: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    with server.client() as client, client.stream("POST", "/v1/draw", json={**values, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


def test_images_come_as_without_a_stream(server: Server) -> None:
    found = list(events(server, model="gan", count=2, seed=4))
    assert [name for name, _ in found if name != "preview"] == ["image", "image", "done"]
    images = [values for name, values in found if name == "image"]
    expected = server.draw(model="gan", count=2, seed=4).json()["images"]
    assert images == [{"index": index, **image} for index, image in enumerate(expected)]
    assert found[-1][1]["batch"] == 2


def test_a_fault_in_the_process_is_an_event(server: Server) -> None:
    ((name, values),) = events(server, model="diffusion", sampling={"sigma_min": 3.0, "sigma_max": 2.0})
    assert (name, values["status"], values["error"]["param"]) == ("error", 422, "sampling")


def test_a_fault_in_the_body_has_its_status(server: Server) -> None:
    assert server.draw(stream=True, **{"class": "bird"}).status_code == 422

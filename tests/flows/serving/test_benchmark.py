"""benchmarks/serving.py at a small size: wrong and lost answers would be seen."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest

from benchmarks import serving_rate
from benchmarks.serving_chaos import Tally, _ask, chaos
from benchmarks.serving_load import Measured, percentile
from benchmarks.serving_locust import Load
from tests.flows.serving.served import Server, save_tiny_model


def test_percentiles_are_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (1, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([3.0], 99) == 3.0


def test_wrong_lost_and_left_are_told_apart(server: Server) -> None:
    async def ask(address: str, leaves: float | None) -> Tally:
        tally = Tally()
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
            await _ask(client, {"model": "gan", "seed": 1, "class": "a"}, leaves, {}, tally)
        return tally

    wrong = asyncio.run(ask(server.address, None))
    assert (wrong.wrong, wrong.lost, wrong.left, wrong.statuses[200]) == (1, 0, 0, 1)
    assert asyncio.run(ask("http://127.0.0.1:9", None)).lost == 1
    assert asyncio.run(ask(server.address, 0.0)).left == 1


def test_at_a_fixed_rate_a_closed_connection_is_replaced_and_a_lost_answer_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving_rate, "WARM_UP_S", 0.0)
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Close the first connection after its answer, as if it had been idle; do not answer on the second."""
        nonlocal connections
        connections += 1
        number = connections
        while await reader.read(1000):
            if number != 2:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            if number < 3:
                break
        writer.close()

    async def load() -> Load:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await serving_rate._Clients(f"http://127.0.0.1:{port}", "gan", 1).run(20.0, 0.25)

    assert asyncio.run(asyncio.wait_for(load(), 20)).statuses == {"200": 4, "lost": 1}
    assert connections == 3


@pytest.mark.long
def test_nothing_is_wrong_or_lost_in_chaos(tmp_path: Path) -> None:
    models = (save_tiny_model(tmp_path / "one", "gan"), save_tiny_model(tmp_path / "two", "vae"))
    rows: dict[str, Measured] = {row.what: row for row in chaos(models, 400, random.Random(0).randrange(100))}
    assert rows["wrong pixels"].value == rows["lost without an answer"].value == 0
    assert rows["answered with 200"].value > 300

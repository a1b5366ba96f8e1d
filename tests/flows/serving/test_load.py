"""More than can be served, clients that leave, and a model process that is killed."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from flows.cli import main
from tests.flows.conftest import wait_for
from tests.flows.serving.served import Server, save_tiny_model, serving

# Some tenths of a second: long enough to meet it while it runs.
SLOW = {"model": "diffusion", "count": 32, "sampling": {"steps": 250}}


@pytest.fixture(scope="module")
def small(model_folders: Path) -> Iterator[Server]:
    """A server with a short queue, for tests that may kill its model process."""
    names = [str(model_folders / "diffusion"), str(model_folders / "gan")]
    with serving(*names, workspace=model_folders, options=("--queue=96", "--batch=32")) as server:
        yield server


def metric(server: Server, name: str) -> float:
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and not line.startswith("#"))


def test_beyond_the_queues_limit_429_says_when_to_come_again(small: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: small.draw(**SLOW, seed=seed), range(8)))
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "queue_full"
    assert int(refused.headers["retry-after"]) >= 1
    assert metric(small, "genai_queue_images") == 0


def leave(server: Server, values: dict[str, object]) -> None:
    """Send a request and close the connection without waiting for its answer."""
    parts = urlsplit(server.address)
    body = json.dumps(values).encode()
    head = f"POST /v1/draw HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        time.sleep(0.05)


def test_what_nobody_waits_for_is_not_computed(small: Server) -> None:
    before = metric(small, "genai_images_total")
    for seed in range(6):
        leave(small, {**SLOW, "seed": seed, "sampling": {"steps": 200 + seed}})  # different options: not one batch
    assert small.draw(model="gan", seed=1).status_code == 200
    wait_for(lambda: metric(small, "genai_queue_images") == 0, 30)
    # Two may have been in the process already; their images count if they were past their last step.
    assert metric(small, "genai_images_total") - before <= 2 * 32 + 1


def test_what_is_computed_for_a_client_that_left_is_stopped_between_two_steps(small: Server) -> None:
    long = {"model": "diffusion", "count": 64, "seed": 1, "sampling": {"steps": 250}}
    before = metric(small, "genai_images_total")
    assert small.draw(**long).status_code == 200
    assert metric(small, "genai_images_total") - before == 64
    leave(small, long)
    assert small.draw(model="gan", seed=1).status_code == 200  # behind it in the process
    assert metric(small, "genai_images_total") - before == 64 + 1


def test_a_killed_model_process_is_replaced_and_its_requests_are_answered(small: Server) -> None:
    expected = small.draw(**SLOW, seed=7).json()["images"]
    (pid,) = small.model_pids()
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(small.draw, **SLOW, seed=seed) for seed in (7, 8)]
        quick = [pool.submit(small.draw, model="gan", seed=seed) for seed in (1, 2)]
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        answers = [future.result() for future in (*slow, *quick)]
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text[:200] for answer in answers]
    assert answers[0].json()["images"] == expected
    assert small.model_pids() != [pid]
    assert metric(small, "genai_model_process_restarts_total") == 1


def test_a_request_on_which_the_process_dies_twice_is_refused(small: Server) -> None:
    with ThreadPoolExecutor(2) as pool:
        poison = pool.submit(small.draw, **{**SLOW, "count": 64}, seed=1)
        while not poison.done():  # a kill before the process has begun with it does not count
            time.sleep(0.1)
            (pid,) = small.model_pids()
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: small.model_pids() not in ([], [pid]) or poison.done(), 30)
            wait_for(lambda: ready(small) or poison.done(), 30)
        answer = poison.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_process_died")
    wait_for(lambda: ready(small), 30)
    assert small.draw(model="gan", seed=1).status_code == 200


def ready(server: Server) -> bool:
    with server.client() as client:
        return client.get("/readyz").status_code == 200


def test_weights_that_changed_are_refused_when_they_are_loaded_again(model_folders: Path, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "mine", "gan")
    with serving(str(folder), str(model_folders / "vae"), workspace=tmp_path) as server:
        assert server.draw(model="mine").status_code == 200
        other = save_tiny_model(tmp_path / "other", "gan", seed=1)
        for path in other.iterdir():
            path.rename(folder / path.name)
        wait_for(lambda: server.draw(model="mine").status_code == 409, 30)
        error = server.draw(model="mine").json()["error"]
        assert error["code"] == "model_changed"
        assert str(tmp_path) not in error["message"]
        (pid,) = server.model_pids()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.model_pids() != [pid] and ready(server), 30)
        assert server.draw(model="mine").status_code == 409
        assert server.draw(model="vae").status_code == 200


def test_sigterm_lets_requests_finish(model_folders: Path) -> None:
    with serving(str(model_folders / "diffusion"), workspace=model_folders) as server:
        server.draw(seed=1)
        with ThreadPoolExecutor(1) as pool:
            # On a busy machine, 250 steps may take longer than the nine seconds that a request is given.
            running = pool.submit(server.draw, **{**SLOW, "sampling": {"steps": 60}})
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            assert running.result().status_code == 200
        assert server.process.wait(20) == 0
        with pytest.raises(httpx.ConnectError):
            server.draw()


def test_the_port_in_use_is_one_sentence(server: Server, tmp_path: Path) -> None:
    port = urlsplit(server.address).port
    answer = CliRunner().invoke(main, ["--workspace", str(tmp_path), "serve", f"--port={port}"])
    assert answer.exit_code == 2
    assert answer.stderr == (
        f"port {port} of 127.0.0.1 cannot be used: address already in use; stop what uses it, or choose another one "
        "with --port\n"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device=tpu",), "device: got 'tpu'; expected auto, cpu, cuda or cuda:N"),
        (("--device=cuda:99",), "device: got 'cuda:99', but torch sees"),
    ],
)
def test_a_device_that_is_not_there(model_folders: Path, options: tuple[str, ...], said: str) -> None:
    with (
        pytest.raises(AssertionError) as stopped,
        serving(str(model_folders / "gan"), workspace=model_folders, options=options),
    ):
        pass
    assert said in str(stopped.value)
    assert "Traceback" not in str(stopped.value)


def test_a_damaged_model_is_named_at_the_start(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "mine", "gan")
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with (
        pytest.raises(AssertionError, match="its sha256 differs from the one in config"),
        serving(str(folder), workspace=tmp_path),
    ):
        pass


def test_two_processes_share_the_queue(model_folders: Path) -> None:
    options = ("--device=cpu", "--device=cpu")
    with serving(str(model_folders / "diffusion"), workspace=model_folders, options=options) as server:
        expected = [server.draw(seed=seed, sampling={"steps": 40 + seed}).json()["images"] for seed in range(6)]
        first, second = server.model_pids()
        with ThreadPoolExecutor(6) as pool:
            futures = [pool.submit(server.draw, seed=seed, sampling={"steps": 40 + seed}) for seed in range(6)]
            os.kill(first, signal.SIGKILL)
            assert [future.result().json()["images"] for future in futures] == expected
        assert ready(server)  # also while the first one is being replaced
        wait_for(lambda: len(server.model_pids()) == 2, 30)
        assert second in server.model_pids()

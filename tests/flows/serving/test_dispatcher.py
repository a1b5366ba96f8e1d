"""A dispatcher whose process dies: another one is started, whatever happens meanwhile."""

import asyncio

import pytest

from flows.serving import dispatcher as module
from flows.serving.generation import Generation
from flows.serving.model_process import ProcessEnded
from tests.flows.serving.scripted import Device, generation

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.0, 0.01))


def test_a_failure_while_files_are_laid_out_does_not_end_the_restarts() -> None:
    def no_space(_: Generation) -> None:
        raise OSError(28, "no space left on device")

    async def story() -> None:
        device, model = Device(lay_out=no_space), generation("gan")
        async with device.opened(model):
            device.started[0].kill()
            answer = await asyncio.wait_for(device.job(model).answer, WAIT_S)
            assert answer.values["held"] == ["gan 1"]

    asyncio.run(story())


def test_a_process_that_cannot_be_started_is_tried_again() -> None:
    async def story() -> None:
        failures = iter((OSError(12, "cannot allocate memory"),))

        def fail_once() -> None:
            for failure in failures:
                raise failure

        device, model = Device(before_start=fail_once), generation("gan")
        async with device.opened(model) as dispatcher:
            device.started[0].kill()
            await asyncio.wait_for(device.job(model).answer, WAIT_S)
            assert dispatcher.restarts == 1

    asyncio.run(story())


def test_a_reply_that_cannot_be_handled_ends_the_process_only() -> None:
    def fail(_: object) -> None:
        raise KeyError("shape")

    async def story() -> None:
        device, model = Device(), generation("gan")
        async with device.opened(model):
            _, reply = device.started[0].send("preview", {}, on_preview=fail)
            with pytest.raises(ProcessEnded):
                await asyncio.wait_for(reply, WAIT_S)
            await asyncio.wait_for(device.job(model).answer, WAIT_S)

    asyncio.run(story())

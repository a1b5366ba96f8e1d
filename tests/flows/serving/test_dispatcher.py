"""A dispatcher whose process dies: another one is started, whatever happens meanwhile."""

import asyncio
import threading
import time

import pytest

from flows.serving import dispatcher as module
from flows.serving.dispatcher import LoadError
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.jobs import Job, JobQueue
from flows.serving.model_process import END_TIMEOUT_S, ProcessEnded
from tests.flows.serving import scripted
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


@pytest.mark.parametrize("other_is_up", [True, False])
def test_a_device_that_does_not_start_refuses_jobs_only_if_no_other_can_take_them(other_is_up: bool) -> None:
    async def story() -> None:
        attempts = 0

        def fail() -> None:
            nonlocal attempts
            attempts += 1
            raise OSError(12, "cannot allocate memory")

        device, model = Device(before_start=fail, is_any_up=lambda: other_is_up), generation("gan")
        async with device.opened(model) as dispatcher:
            device.started[0].kill()
            while dispatcher.is_up:
                await asyncio.sleep(0.01)
            job, before = device.job(model), attempts
            while attempts < before + 5:
                await asyncio.sleep(0.01)
            assert job.answer.done() is not other_is_up
            if not other_is_up:
                assert isinstance(error := job.answer.exception(), ApiError)
                assert (error.status, error.code) == (503, "no_model_process")

    asyncio.run(story())


def test_a_model_that_is_unloaded_during_a_restart_does_not_come_back() -> None:
    async def story() -> None:
        laying_out, may_go_on = threading.Event(), threading.Event()

        def lay_out(_: Generation) -> None:
            laying_out.set()
            may_go_on.wait(WAIT_S)

        device, old, new = Device(lay_out=lay_out), generation("old"), generation("new")
        async with device.opened(old, new) as dispatcher:
            device.started[0].kill()
            await asyncio.to_thread(laying_out.wait, WAIT_S)
            await dispatcher.unload(old)
            may_go_on.set()
            answer = await asyncio.wait_for(device.job(new).answer, WAIT_S)
            assert answer.values["held"] == ["new 1"]
            device.started[1].kill()
            while len(device.started) < 3:
                await asyncio.sleep(0.01)
            answer = await asyncio.wait_for(device.job(new).answer, WAIT_S)
            assert answer.values["held"] == ["new 1"]

    asyncio.run(story())


def test_a_killed_dispatcher_does_not_wait_for_what_is_computed_and_starts_no_other_process() -> None:
    async def story() -> None:
        device, model = Device(), generation("gan")
        async with device.opened(model) as dispatcher:
            job = device.job(model, "wait")
            while device.queue.images:
                await asyncio.sleep(0.01)
            dispatcher.kill()
            begun = time.monotonic()
            await dispatcher.close()
            assert time.monotonic() - begun < END_TIMEOUT_S / 2
            assert len(device.started) == 1
            job.answer.cancel()

    asyncio.run(story())


def test_a_fault_of_one_job_is_not_the_answer_to_those_it_was_batched_with() -> None:
    async def story() -> None:
        device, model = Device(), generation("gan")
        async with device.opened(model):
            drawings = [{"seed": 1}, {"seed": 2, "fault": True}, {"seed": 3}]
            jobs = [Job("draw", model, {"drawings": [drawing]}, key="equal") for drawing in drawings]
            for job in jobs:  # before the dispatcher gets its turn, so that one batch has all
                device.queue.put(job)
            first, faulty, last = await asyncio.wait_for(
                asyncio.gather(*(job.answer for job in jobs), return_exceptions=True), WAIT_S
            )
            assert isinstance(faulty, ApiError)
            assert (faulty.status, faulty.param) == (422, "start")
            assert [answer.blobs for answer in (first, last)] == [[b"\x01"], [b"\x03"]]

    asyncio.run(story())


@pytest.mark.parametrize("older", ["", ', "protocol": PROTOCOL - 1'])
def test_a_process_of_another_version_is_said_to_be_one(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a workspace whose code is older answers.
    monkeypatch.setattr(scripted, "SCRIPT", scripted.SCRIPT.replace(', "protocol": PROTOCOL', older))

    async def story() -> None:
        with pytest.raises(LoadError, match="another version than this `genai`"):
            async with Device().opened(generation("gan")):
                pass

    asyncio.run(story())


@pytest.mark.parametrize(
    ("size", "jobs", "threads", "batch"),
    [
        (2, [32], [2], 32),
        (2, [8, 8], [1, 1], 16),
        (2, [16, 16, 16], [1, 1, 1], 16),  # each thread has a batch of its own, and none waits for another
        (2, [32, 32], [1, 1], 32),
        (16, [64, 64, 64], [4, 4, 4], 64),
        (4, [64, 64], [1, 3], 64),
    ],
    ids=["alone", "few", "enough for several threads", "large ones", "threads for all", "threads for one"],
)
def test_a_batch_leaves_threads_to_what_waits(size: int, jobs: list[int], threads: list[int], batch: int) -> None:
    async def story() -> None:
        device, model = Device(JobQueue(256)), generation("gan")
        async with device.opened(model) as dispatcher:
            dispatcher._threads = dispatcher._room.size = size
            waiting = [drawing(model, images) for images in jobs]
            for job in waiting:
                device.queue.put(job)
            answers = [await asyncio.wait_for(job.answer, WAIT_S) for job in waiting]
        assert [answer.values["threads"] for answer in answers] == threads
        assert {answer.batch_images for answer in answers} == {batch}

    asyncio.run(story())


def drawing(model: Generation, images: int) -> Job:
    return Job("draw", model, {"drawings": [{"seed": 0}] * images}, images=images, key="same")

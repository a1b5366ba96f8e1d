"""What an attempt's end at the server tells the one who waits for it."""

from typing import cast
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType

from flows.executors.attempts import NOT_STARTED, Lost
from flows.executors.order import Order
from flows.executors.pool_follow import Follower
from flows.executors.pool_watch import Seen, Watch
from flows.executors.software import Software
from flows.process import Processes
from flows.runs.job import Job
from tests.flows.executors.machines import Heard

EXITED = "Flow run infrastructure exited with non-zero status code 1. Process exited with a general error."
ORDER = Order(Job("one", "commit", "prepare", {}), "", "", "", (), {}, Software("", "", {}))


class Wanted(Heard):
    def check(self) -> None:
        """The job is wanted."""


@pytest.mark.parametrize(
    ("message", "report", "why"),
    [
        # An image without the job's module, for example: only the worker has seen what Python said.
        (EXITED, {}, f"{EXITED[:-1]}, before it reported anything: the log of its worker has what it printed"),
        ("", {}, "its process died, before it reported anything: the log of its worker has what it printed"),
        (EXITED, {"beat": 0}, EXITED),
        (f"{NOT_STARTED}: ImageNotFound: ", {}, f"{NOT_STARTED}: ImageNotFound: "),
    ],
)
def test_a_job_that_ended_without_a_report_may_have_said_why_to_its_worker(
    message: str, report: dict[str, int], why: str
) -> None:
    nobody = cast(SyncPrefectClient, None)  # of a job that has ended, the server is asked nothing
    watch = Watch(nobody)
    try:
        follower = Follower(nobody, watch, Processes(), {"cpu": 1.0})
        with pytest.raises(Lost) as lost:
            follower.outcome(uuid4(), Seen(StateType.CRASHED, message, dict(report)), "cpu", ORDER, Wanted())
    finally:
        watch.close()
    assert str(lost.value) == why

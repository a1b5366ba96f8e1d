"""What Prefect prints on the console of a command, in a real process."""

import subprocess
import sys

import pytest

from tests.test_rooms import ROOT

# Two events wait when the process ends, as the client is slow.
PROGRAM = """
import asyncio, sys
from flows.prefect_log import quiet_prefect
if sys.argv[1] == "quiet":
    quiet_prefect("WARNING")
import prefect
from prefect.events import Event
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.logging.configuration import setup_logging

class Slow(AssertingEventsClient):
    async def _emit(self, event):
        await asyncio.sleep(0.2)

setup_logging()
worker = EventsWorker.instance(Slow)
for number in range(3):
    worker.send(Event(event="test", resource={"prefect.resource.id": f"test.{number}"}))
print("error: the last line", file=sys.stderr)
"""


@pytest.mark.parametrize("how", ["quiet", "loud"])
def test_prefect_says_nothing_below_the_last_line_of_a_command(how: str) -> None:
    command = [sys.executable, "-c", PROGRAM, how]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    first, *rest = ended.stderr.splitlines()
    assert first == "error: the last line"
    assert bool(rest) == (how == "loud"), rest  # loud: otherwise this test could not fail

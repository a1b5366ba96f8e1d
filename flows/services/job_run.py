"""The process that a worker of a work pool starts for one job: the job, and the states of its flow run at the server.

    python -m flows.services.job_run      # the run's id is in PREFECT__FLOW_RUN_ID

It does what Prefect's own engine does, but for that it needs neither a flow nor prefect, whose import takes longer than
a small stage. Whether the process died, and the end of a cancelled run, is the worker's matter as always.
"""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.executors.order import Outcome, order_from
from flows.executors.worked import outcome_of
from flows.process import Processes, Stopped
from flows.redact import without_secrets
from flows.services.api import NOT_FOUND, Api, ApiError, api_at
from flows.services.job_report import OVER, Report, patiently_asked, state_of
from flows.services.settings import configured_api_url

RUN = "PREFECT__FLOW_RUN_ID"
PENDING_POLL_S = 0.2


@dataclass(frozen=True)
class End:
    """The state in which a flow run ends."""

    type: str
    message: str


def main() -> int:
    """Execute the run. Return 0 if the server knows how it ended; otherwise the worker marks it as crashed."""
    processes = Processes()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: processes.stop())
    url = configured_api_url()
    if url is None or RUN not in os.environ:
        print(f"this process is started by a worker, which sets PREFECT_API_URL and {RUN}", file=sys.stderr)
        return 2
    return execute_run(api_at(url), os.environ[RUN], processes)


def execute_run(api: Api, name: str, processes: Processes) -> int:
    """Execute the job of a flow run (its id), and record its states. Return the exit status, as `main`."""
    # Podman does not answer a request for a container's log before its first line. After a minute without an answer,
    # the worker of a docker pool gives the container up.
    print(f"flow run {name} of {without_secrets(api.url)}", flush=True)
    try:
        run = patiently_asked(lambda: api.get(f"flow_runs/{name}"))
        state = run["state"] if run["state"]["type"] in OVER else _began(api, name)
        if state["type"] != "RUNNING":  # cancelled meanwhile, for example
            print(f"the run does not begin: it is {state['name']}", file=sys.stderr)
            return 0
        end = _worked(api, run, (state.get("state_details") or {}).get("deployment_concurrency_lease_id"), processes)
        if end is not None:
            patiently_asked(lambda: _set(api, name, end.type, end.message))
    except ApiError as error:
        print(error, file=sys.stderr)
        return 0 if error.status == NOT_FOUND else 1  # it was deleted
    return 0


def job_of(api: Api, run: Mapping[str, Any], lease: str | None, processes: Processes) -> Outcome:
    """Execute the job of a flow run, and report it. Raises Stopped, ApiError."""
    with patiently_asked(lambda: Report(api, run, lease)).sent(processes) as report:
        try:
            outcome = outcome_of(order_from(run["parameters"]["order"]), report, processes)
        except ValueError as error:
            outcome = Outcome("", 0, failure=str(error), retryable=False)
        report.end(outcome)
    return outcome


def end_of(outcome: Outcome) -> End:
    """The state of a flow run whose job has this outcome."""
    if outcome.entry is None:
        return End("FAILED", outcome.failure)
    return End("COMPLETED", f"ran in {outcome.seconds:.1f} s" if outcome.ran else "restored from this machine's cache")


def _worked(api: Api, run: Mapping[str, Any], lease: str | None, processes: Processes) -> End | None:
    """Execute the job and return how it ended; None if the server knows that already. Raises ApiError."""
    try:
        return end_of(job_of(api, run, lease, processes))
    except Stopped:
        state = patiently_asked(lambda: state_of(api, run["id"]))
        if state in ("CANCELLING", "CANCELLED"):
            return End("CANCELLED", "stopped on request")
        ended = state is None or state in OVER
        return None if ended else End("CRASHED", f"ended by a signal on {socket.gethostname()}")
    except ApiError:
        raise
    except Exception as error:  # a full disk, for example
        traceback.print_exc()
        return End("FAILED", f"on {socket.gethostname()}: {type(error).__name__}: {error}")


def _began(api: Api, run: str) -> Mapping[str, Any]:
    """Propose that the run begins, and return its state. Raises ApiError."""
    while True:
        answer = patiently_asked(lambda: _set(api, run, "RUNNING"))
        match answer["status"]:
            case "WAIT":
                time.sleep(answer["details"]["delay_seconds"])
            case "REJECT" if answer["state"]["type"] == "PENDING":
                time.sleep(PENDING_POLL_S)
            case "ABORT":
                return {"type": "", "name": answer["details"].get("reason") or "aborted"}
            case _:
                state: Mapping[str, Any] = answer["state"]
                return state


def _set(api: Api, run: str, kind: str, message: str | None = None) -> Any:
    state = {"type": kind, "name": kind.capitalize(), "message": message}
    return api.post(f"flow_runs/{run}/set_state", state=state, force=False)


if __name__ == "__main__":
    sys.exit(main())

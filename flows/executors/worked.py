"""What a worker makes of an order, whoever brought it: always an outcome, unless it is stopped."""

from flows.data.objects import RemoteError
from flows.executors.executor import CommandFailed, Listener
from flows.executors.order import Order, Outcome
from flows.executors.remote_place import execute_order, worker_home
from flows.executors.software import machine_facts
from flows.git import GitError
from flows.process import Processes
from flows.runs.job import key_of
from genai_core import GenaiError


def outcome_of(order: Order, listener: Listener, processes: Processes) -> Outcome:
    """Execute an order on this machine. Raises Stopped."""
    facts, known = machine_facts(), (key_of(order.job), order.job.attempt)
    try:
        result = execute_order(order, worker_home(), listener, processes)
    except CommandFailed as failure:
        return Outcome(*known, failure=str(failure), retryable=failure.retryable, machine=facts)
    except (RemoteError, GitError) as error:  # a network may be back at the next attempt
        return Outcome(*known, failure=f"on {facts['host']}: {error}", machine=facts)
    except GenaiError as error:
        return Outcome(*known, failure=f"on {facts['host']}: {error}", retryable=False, machine=facts)
    return Outcome(*known, entry=result.entry, ran=result.ran, seconds=result.seconds, machine=facts)

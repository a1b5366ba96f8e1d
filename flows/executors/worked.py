"""What a worker makes of an order, whoever brought it: always an outcome, unless it is stopped."""

import socket
from dataclasses import replace

from flows.data.objects import RemoteError
from flows.executors.executor import CommandFailed, JobFailed, NodeListener
from flows.executors.machine import worker_home
from flows.executors.nodes.meeting import NodeLost
from flows.executors.order import Order, Outcome
from flows.executors.remote_place import execute_order
from flows.executors.software import machine_facts
from flows.git import GitError
from flows.process import Processes
from flows.runs.job import key_of
from genai_core import GenaiError


def outcome_of(order: Order, listener: NodeListener, processes: Processes) -> Outcome:
    """Execute an order on this machine. Raises Stopped."""
    try:
        return execute_order(order, worker_home(), listener, processes)
    except JobFailed as error:
        failed = _failed(order, str(error))
        return replace(failed, retryable=error.retryable, is_command_fault=isinstance(error, CommandFailed))
    except NodeLost as error:
        return replace(_failed(order, str(error)), is_lost=True)
    except (RemoteError, GitError) as error:  # a network may be back at the next attempt
        failure, retryable = f"on {socket.gethostname()}: {error}", True
    except GenaiError as error:
        failure, retryable = f"on {socket.gethostname()}: {error}", False
    return replace(_failed(order, failure), retryable=retryable)


def _failed(order: Order, failure: str) -> Outcome:
    return Outcome(key_of(order.job), order.job.attempt, failure=failure, machine=machine_facts())

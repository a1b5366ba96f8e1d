"""What a machine does that is not the first one of a training: it runs the stage's command, outside DVC."""

from flows.executors.executor import Listener
from flows.executors.local import leased, run_stage_command
from flows.executors.nodes.joining import joined
from flows.executors.order import Node, Order, Outcome
from flows.executors.software import machine_facts
from flows.graph import StageNode
from flows.process import Processes
from flows.resources import Resources
from flows.runs.job import Job, key_of
from flows.runs.place import Place


def run_beside(
    place: Place,
    stage: StageNode,
    job: Job,
    order: Order,
    node: Node,
    listener: Listener,
    processes: Processes,
    resources: Resources,
    held: int,
) -> Outcome:
    """Run the command of a stage together with the first machine. Nothing is recorded or sent: that is done there.

    Raises CommandFailed after its time limit, NodeLost if the first machine is gone, Stopped.
    """
    with leased(resources, stage, processes, listener) as lease, joined(node, processes) as together:
        listener.started(lease.gpus)
        variables = {**order.variables, **lease.environment(), **together.variables}
        status = run_stage_command(place, stage, job, variables, processes, listener, held)
        together.ended(status)
    failure = f"status {status} on another machine than the first" if status else ""
    return Outcome(key_of(job), job.attempt, ran=True, failure=failure, machine=machine_facts())

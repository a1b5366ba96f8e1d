"""Which workers of a Dask cluster have room for one more job. The key of a task says what the task takes.

So the coordinators of other runs see it, too. What tasks of other programs take is not known.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from distributed import Client

    from flows.executors.dask_engine import Task

ANSWER_S = 10.0  # for the scheduler: one that is connected may still be stuck
_ROUNDING = 1e-6  # of thirds of a GPU


class OwnTasks:
    """What a coordinator knows of its own tasks before the scheduler does. Methods may be called from many threads."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._expected: dict[str, tuple[tuple[str, ...], float]] = {}  # by key: at which workers, and until when
        self._over: set[str] = set()
        self._lock = threading.Lock()

    def expect(self, key: str, workers: tuple[str, ...], seconds: float) -> None:
        """A task was submitted for these workers. The scheduler may hear of it later than of the next question."""
        with self._lock:
            self._expected[key] = workers, time.monotonic() + seconds

    def begun(self, task: "Task") -> bool:
        """A task has begun: any other worker may have it now. Raises TimeoutError and what the client raises.

        False: its worker has died meanwhile, so that it waits for a worker that will not come back.
        """
        with self._lock:
            self._expected.pop(task.key, None)
        if not task.workers:
            return True
        scheduler = self._client.scheduler
        assert scheduler is not None
        _asked(self._client, scheduler.set_restrictions, worker={task.key: None})
        return bool(_asked(self._client, scheduler.get_task_status, keys=[task.key])[task.key] != "no-worker")

    def over(self, key: str) -> None:
        """A task had its outcome. It is at its worker until its process has ended, which is not worth a transfer."""
        with self._lock:
            self._over.add(key)

    def with_room(self, names: Iterable[str], wanted: Mapping[str, float]) -> set[str]:
        """Those of the workers that can begin a task at once. Raises TimeoutError and what the client raises."""
        workers, tasks = workers_of(self._client), _processing(self._client)
        with self._lock:
            now = time.monotonic()
            expected = [(key, there) for key, (there, until) in self._expected.items() if until > now]
            over = set(self._over)
        found = set()
        for name in names:
            worker = workers.get(name)
            if worker is None or worker["status"] != "running":
                continue
            keys = {*tasks.get(name, ()), *(key for key, there in expected if name in there)} - over
            if has_room(worker["resources"], worker["nthreads"], keys, wanted):
                found.add(name)
        return found


def workers_of(client: "Client") -> dict[str, Any]:
    """The cluster's workers by their addresses, as the scheduler describes them now.

    Not from `client.scheduler_info()`: what that returns may have been replaced by a description without workers, which
    the client asks for every two seconds. Raises TimeoutError after ANSWER_S, and what the client raises.
    """
    assert client.scheduler is not None
    workers: dict[str, Any] = _asked(client, client.scheduler.identity, n_workers=-1)["workers"]
    return workers


def _processing(client: "Client") -> dict[str, Any]:
    """The keys of the tasks that each worker has. Client.processing() would wait for ever."""
    assert client.scheduler is not None
    tasks: dict[str, Any] = _asked(client, client.scheduler.processing, workers=None)
    return tasks


def _asked(client: "Client", question: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return client.sync(question, callback_timeout=ANSWER_S, **arguments)
    except TimeoutError:
        raise TimeoutError(f"no answer in {ANSWER_S:g} s") from None


def key_of_task(name: str, taken: Mapping[str, float]) -> str:
    """The key of a task. taken: the resources that it asks for."""
    return f"{name}?{urlencode(taken)}"


def has_room(offered: Mapping[str, float], threads: int, keys: Collection[object], wanted: Mapping[str, float]) -> bool:
    """Whether a worker can begin a task at once.

    offered: its resources. keys: of the tasks that it has. wanted: the resources that the new one takes.
    """
    taken = [_taken(key) for key in keys]
    if len(taken) >= threads:
        return False
    left = dict(offered)
    for task in taken:
        if task is None:  # of another program
            return False
        for name, value in task.items():
            left[name] = left.get(name, 0.0) - value
    return all(left.get(name, 0.0) >= value - _ROUNDING for name, value in wanted.items())


def _taken(key: object) -> dict[str, float] | None:
    if not isinstance(key, str) or not key.startswith("genai-") or "?" not in key:
        return None
    try:
        return {name: float(value) for name, value in parse_qsl(key.rpartition("?")[2])}
    except ValueError:
        return None

"""Counters for Prometheus: latency, queue, batches, images, model processes, GPU memory."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from flows.serving.dispatcher import Dispatcher
    from flows.serving.generation import Generation
    from flows.serving.jobs import JobQueue

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 15.0, 60.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "genai_requests", "Requests by route and status.", ["route", "method", "status"], registry=self.registry
        )
        self._latency = Histogram(
            "genai_request_seconds",
            "From a request to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._images = Counter("genai_images", "Images that were computed.", ["model"], registry=self.registry)
        self._batch_images = Histogram(
            "genai_batch_images", "Images computed together.", ["model"], buckets=_IMAGES, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "genai_batch_seconds", "Time of a batch in the model process.", ["model"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. status 0: the client went away before an answer began."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def batch(self, model: "Generation", images: int, ms: float) -> None:
        """Count a batch."""
        self._images.labels(model.name).inc(images)
        self._batch_images.labels(model.name).observe(images)
        self._batch_seconds.labels(model.name).observe(ms / 1000)

    def watch(self, queue: "JobQueue", dispatchers: "Sequence[Dispatcher]") -> None:
        """Report the state of queue and processes from now on."""
        self.registry.register(_State(queue, dispatchers))

    def text(self) -> bytes:
        """Return all values in Prometheus' text form."""
        return generate_latest(self.registry)


class _State(Collector):
    """What is read when somebody asks."""

    def __init__(self, queue: "JobQueue", dispatchers: "Sequence[Dispatcher]") -> None:
        self._queue = queue
        self._dispatchers = dispatchers

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("genai_queue_images", "Images that wait.", self._queue.images)
        yield GaugeMetricFamily("genai_queue_limit_images", "Images that may wait.", self._queue.limit)
        up = GaugeMetricFamily("genai_model_process_up", "1 while the process answers.", labels=["device"])
        restarts = CounterMetricFamily(
            "genai_model_process_restarts", "Processes started because one ended.", labels=["device"]
        )
        gpu = GaugeMetricFamily("genai_gpu_memory_bytes", "GPU memory of a model process.", labels=["device", "kind"])
        for dispatcher in self._dispatchers:
            up.add_metric([dispatcher.device], float(dispatcher.is_up))
            restarts.add_metric([dispatcher.device], float(dispatcher.restarts))
            for kind, size in dispatcher.gpu.items():
                gpu.add_metric([dispatcher.device, kind], size)
        yield from (up, restarts, gpu)

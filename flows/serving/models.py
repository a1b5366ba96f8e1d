"""The models that the server offers, by the names that clients use, and how one generation replaces another."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flows.serving.dispatcher import Dispatcher
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.sources import Source

log = logging.getLogger("genai.serve")


class Models:
    """Served names, each with its current generation."""

    def __init__(self, dispatchers: Sequence[Dispatcher]) -> None:
        self._dispatchers = dispatchers
        self._current: dict[str, Generation] = {}
        self._made = 0
        self._retiring: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Generation]:
        return iter(self._current.values())

    @property
    def default(self) -> Generation:
        """The model of a request that names none: the first one of the command line."""
        return next(iter(self._current.values()))

    def find(self, name: str | None) -> Generation:
        """Return the current generation of a name or a version. Raises ApiError 404, and 409 for one with a fault."""
        if name is None:
            found: Generation | None = self.default
        else:
            by_version = {generation.version: generation for generation in self if generation.version}
            found = self._current.get(name) or by_version.get(name)
        if found is None:
            raise ApiError(
                404,
                f"no model {name!r} is served; available: {', '.join(self._current)}",
                param="model",
                code="model_not_found",
            )
        if found.fault is not None:
            raise ApiError(409, found.fault, param="model", code="model_changed")
        return found

    @contextmanager
    def held(self, name: str | None) -> Iterator[Generation]:
        """Find a model as `find` does, and keep it loaded until the end of the block.

        Without it, a promotion could unload the model while a request decodes its pictures, before its job is queued.
        """
        found = self.find(name)
        found.outstanding += 1
        try:
            yield found
        finally:
            found.release()

    def version_of(self, name: str) -> str | None:
        """Return the version that a served name stands for now."""
        return self._current[name].version

    async def open(self, sources: Sequence[Source]) -> None:
        """Load the models of the command line. Raises LoadError, ProcessEnded."""
        generations = [self._generation(source) for source in sources]
        for dispatcher in self._dispatchers:
            await dispatcher.open(generations)
        self._current = {generation.name: generation for generation in generations}

    async def swap(self, source: Source) -> None:
        """Load a model's next generation, then let new requests use it. The old one finishes what it has.

        Raises LoadError, ProcessEnded: the old generation then stays.
        """
        old, new = self._current.get(source.name), self._generation(source)
        try:
            for dispatcher in self._dispatchers:
                await dispatcher.load(new)
        except BaseException:
            for dispatcher in self._dispatchers:
                await dispatcher.unload(new)
            raise
        self._current[source.name] = new
        if old is not None:
            old.retire()
            task = asyncio.get_running_loop().create_task(self._unload(old))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _unload(self, generation: Generation) -> None:
        await generation.idle.wait()
        for dispatcher in self._dispatchers:
            await dispatcher.unload(generation)

    def _generation(self, source: Source) -> Generation:
        self._made += 1
        key = f"{source.name} {self._made}"
        return Generation(
            source.name, key, source.folder, source.version, source.sha256, source.real_data, source.is_named
        )

"""What can be asked about a served model besides pictures: where its real images are, and directions in its noise."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from flows.process import Processes, Stopped, run_module
from flows.serving.background import in_background
from flows.serving.bodies import Direction
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.model_process import waiting_threads
from genai_core import GenaiError

log = logging.getLogger("genai.serve")

CACHE = Path(".genai/cache/directions")
DIRECTIONS_FILE, DIRECTIONS_FORMAT = "directions.json", 2  # as in genai_core/exploring/directions_folder.py


class Explored:
    """Lays out real images when they are first asked for, and finds directions in a process of their own.

    A search draws about 1,500 images. In the process that holds the models it would keep all other requests waiting.
    """

    def __init__(self, workspace: Path, code: Path, device: str) -> None:
        self._workspace, self._code, self._device = workspace, code, device
        self._processes = Processes(grace_s=0.5)
        # Weak, because each promotion makes another generation, and the old ones are unloaded.
        self._folders: WeakKeyDictionary[Generation, asyncio.Task[dict[str, str]]] = WeakKeyDictionary()
        self._searches: dict[str, asyncio.Task[None]] = {}

    def stop(self) -> None:
        """End the searches that run."""
        self._processes.stop()

    def abilities(self, model: Generation) -> list[str]:
        """Return what can be asked about a model, as the list `can` of /v1/models names it."""
        moves = ["directions"] if "walk" in model.description["can"] else []  # both draw from given noise
        return moves if model.real_data is None else [*moves, "nearest", "explain"]

    async def folders(self, model: Generation) -> dict[str, str]:
        """Return the folders of a model's real images. Raises ApiError if there are none."""
        if model.real_data is None:
            message = f"the real images and the extractor of {model.name} are not here; serve a version or a model of "
            raise ApiError(409, message + "this workspace", param="model", code="no_real_images")
        task = self._folders.get(model)
        if task is None or (task.done() and task.exception() is not None):
            task = self._folders[model] = asyncio.ensure_future(in_background(model.real_data.folders))
        try:
            # One client that leaves must not take them from the others.
            return await asyncio.shield(task)
        except GenaiError as error:
            log.warning("%s: %s", model.name, error)
            message = f"the real images of {model.name} cannot be fetched; see the server's log"
            raise ApiError(503, message, param="model", code="no_real_images") from None

    def forget(self, model: Generation) -> None:
        """Lay out a model's real images again for the next question: `genai gc` may have removed them."""
        self._folders.pop(model, None)

    async def directions(self, model: Generation) -> list[dict[str, Any]]:
        """Return the directions of a model, without their vectors; finds them first if nobody has yet.

        Raises ApiError if that fails.
        """
        folder = self.directions_folder(model)
        if not (folder / DIRECTIONS_FILE).is_file():
            task = self._searches.get(folder.name)
            if task is None:
                task = self._searches[folder.name] = asyncio.ensure_future(
                    asyncio.to_thread(self._search, model.folder, folder)
                )
                task.add_done_callback(lambda _: self._searches.pop(folder.name, None))
            await asyncio.shield(task)
        try:
            found: list[dict[str, Any]] = json.loads((folder / DIRECTIONS_FILE).read_text())["directions"]
        except (OSError, ValueError, KeyError):
            message = f"the directions of {model.name} could not be found; see the server's log"
            raise ApiError(503, message, param="model", code="no_directions") from None
        return found

    async def checked_directions(self, model: Generation, moves: Sequence[Direction]) -> Path:
        """Return the folder of a model's directions, if all moves are along one of them and within its amounts.

        Raises ApiError.
        """
        known = {direction["name"]: direction for direction in await self.directions(model)}
        for index, move in enumerate(moves):
            param = f"directions.{index}"
            if move.name not in known:
                message = (
                    f"{param}.name: no such direction: {move.name[:40]!r}; available: {', '.join(known) or 'none'}"
                )
                raise ApiError(422, message, param=f"{param}.name", code="unknown_direction")
            low, high = known[move.name]["low"], known[move.name]["high"]
            if wrong := [amount for amount in move.amounts if not low <= amount <= high]:
                message = f"{param}.amount: got {wrong[0]:g}; expected a value from {low:g} to {high:g}"
                raise ApiError(422, message, param=f"{param}.amount", code="invalid_value")
            if move.name in [other.name for other in moves[:index]]:
                message = f"{param}.name: {move.name} is given twice"
                raise ApiError(422, message, param=f"{param}.name", code="invalid_value")
        return self.directions_folder(model)

    def directions_folder(self, model: Generation) -> Path:
        """Return the folder of a model's directions, named after all that they depend on."""
        options = {name: option["value"] for name, option in model.description["sampling"].items()}
        key = json.dumps([DIRECTIONS_FORMAT, model.description["sha256"], options], sort_keys=True)
        return self._workspace / CACHE / hashlib.sha256(key.encode()).hexdigest()[:32]

    def _search(self, model: Path, folder: Path) -> None:
        command = ["tasks.directions", str(model), "--out", str(folder), "--device", self._device]
        try:
            status = run_module(
                command,
                folder=self._code,
                on_line=log.info,
                environment=waiting_threads(),
                processes=self._processes,
            )
        except Stopped:
            return
        if status != 0:
            log.warning("the search for directions ended with status %d", status)

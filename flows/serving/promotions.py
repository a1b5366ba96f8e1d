"""Follow promotions while serving: look at the registry's tags, and swap to what is newly in production."""

import asyncio
import logging
import math
from contextlib import suppress
from pathlib import Path

from flows.git import GitError, git, remote_of
from flows.registry.read import STAGE
from flows.registry.write import newer_tags
from flows.serving.background import in_background
from flows.serving.dispatcher import LoadError
from flows.serving.model_process import ProcessEnded
from flows.serving.models import Models
from flows.serving.sources import find_source, production_version
from genai_core import GenaiError

log = logging.getLogger("genai.serve")

LOOK_EVERY_S = 1.0
# After a failed swap, doubled each time: a version too large for the memory is read in vain each time.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 1800.0
FETCH_EVERY_S = 60.0

_FAILED = "the version in production cannot be served, the one before stays"

Stamp = tuple[tuple[int, int] | None, ...]


class Promotions:
    """Keeps the served name `prod` at the version in production. Other names never change."""

    def __init__(self, models: Models, workspace: Path) -> None:
        self._models = models
        self._workspace = workspace

    async def follow(self) -> None:
        """Poll until cancelled, if production is served.

        A failed swap is logged and tried again; the old version stays. The pause before it is tried
        again grows until the tags change.
        """
        if all(model.name != STAGE for model in self._models):
            return
        files = await in_background(tag_files, self._workspace)
        clock = asyncio.get_running_loop().time
        seen: Stamp | None = None
        pause_s, retry_at = FIRST_PAUSE_S, math.inf
        while True:
            now = stamp(files)
            if now == seen and clock() < retry_at:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            if now != seen:
                seen, pause_s = now, FIRST_PAUSE_S
            try:
                await self._look()
                retry_at = math.inf
                continue
            except (GenaiError, LoadError, ProcessEnded, OSError) as error:
                log.error("%s: %s; trying again in %.0f s", _FAILED, error, pause_s)
            except Exception:
                log.exception("%s; trying again in %.0f s", _FAILED, pause_s)
            retry_at, pause_s = clock() + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)

    async def fetch(self) -> None:
        """Fetch the registry's tags from the git remote for ever, for promotions in other clones."""
        said = ""
        while any(model.name == STAGE for model in self._models):
            await asyncio.sleep(FETCH_EVERY_S)
            try:
                await in_background(_fetch_tags, self._workspace)
                said = ""
            except GenaiError as error:
                if str(error) != said:  # once, not every minute of a failure that lasts
                    said = str(error)
                    log.warning("promotions in other clones are not seen: %s", error)
            except Exception:  # such as no memory for a thread; the next minute may be better
                log.exception("promotions in other clones are not seen")

    async def _look(self) -> None:
        version = await in_background(production_version, self._workspace)
        served = self._models.version_of(STAGE)
        if version is None or version == served:
            return
        log.info("%s was promoted; loading it", version)
        source = await in_background(find_source, self._workspace, STAGE)
        await self._models.swap(source)
        log.info("%s is served now instead of %s", source.version, served)


def _fetch_tags(workspace: Path) -> None:
    remote = remote_of(workspace)
    if remote is not None:
        newer_tags(workspace, remote)


def tag_files(workspace: Path) -> list[Path]:
    """Return the paths whose change says that tags changed: git's two forms of references, and reftable's."""
    with suppress(GitError):
        common = Path(workspace, git(workspace, "rev-parse", "--git-common-dir").strip())
        return [common / "packed-refs", common / "refs" / "tags", common / "reftable" / "tables.list"]
    return []


def stamp(files: list[Path]) -> Stamp:
    """Return what changes with a file; two calls of stat per look are cheaper than a process of git."""
    return tuple(_of(path) for path in files)


def _of(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns

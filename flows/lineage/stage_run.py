"""A run of a stage, as one entry of dvc.lock, and its key."""

from dataclasses import dataclass

from flows.dvc_lock import Item, Lock, LockedStage


@dataclass(frozen=True, eq=False)
class StageRun:
    """One run of a stage: what it read and wrote, and the first dvc.lock that records it."""

    stage: LockedStage
    lock: Lock

    def out(self, path: str) -> Item | None:
        return next((item for item in self.stage.outs if item.path == path), None)


# Runs that wrote an object together: one run, or one for each output in a folder of several outputs.
Writers = tuple[StageRun, ...]


def identity(stage: LockedStage) -> str:
    """A key of what the stage read, ran and wrote; equal entries have equal keys."""
    return repr((stage.name, stage.command, stage.deps, stage.outs, sorted(stage.params.items())))

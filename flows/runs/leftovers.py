"""What killed runs left behind, and its removal."""

from pathlib import Path

from flows.runs.checkout import remove_worktree
from flows.runs.one_at_a_time import remove_stale_locks
from flows.runs.record import CHECKOUT, RUNS, ended, forget_old_runs


def sweep(home: Path) -> None:
    """Remove what killed runs left, and delete the records of the oldest runs."""
    remove_left_checkouts(home)
    remove_stale_locks(home)
    forget_old_runs(home)


def left_checkouts(home: Path) -> list[Path]:
    """The checkouts of ended runs whose keepers were killed too."""
    found = []
    for folder in sorted((home / RUNS).glob("*")):
        if (folder / CHECKOUT).exists():
            with ended(folder) as has_ended:
                found += [folder / CHECKOUT] if has_ended else []
    return found


def remove_left_checkouts(home: Path) -> None:
    """Remove checkouts, and git's records of them."""
    for checkout in left_checkouts(home):
        with ended(checkout.parent) as has_ended:  # its keeper may be removing it, or the run was resumed
            if has_ended:
                remove_worktree(home, checkout)

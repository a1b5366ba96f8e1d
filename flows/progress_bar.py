"""A progress bar on a terminal, for commands that do one countable thing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(verb: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error, if that is a terminal, once there is something to do.

    Yields a function that takes the number done and the total.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(verb, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)

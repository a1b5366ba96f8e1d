"""Tables on standard output, by rich: aligned columns, numbers to the right.

In a terminal, the last column wraps within itself. Otherwise, each row is one line without colours and trailing blanks.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_GAP = 2
_MIN_WRAPPED = 20  # narrower than this, the last column is not wrapped
_UNLIMITED = 100_000


def print_table(
    rows: Iterable[Sequence["str | Text"]], head: Sequence[str] = (), *, right: Collection[int] = ()
) -> None:
    """Print rows with the same number of cells. right: indices of the columns that hold numbers."""
    from rich.table import Table  # here: importing it takes as long as the rest of a short command
    from rich.text import Text

    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    if not cells:
        return
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=bool(head), header_style="dim")
    *others, last = range(len(cells[0]))
    for column in (*others, last):
        title = head[column] if head else ""
        table.add_column(title, justify="right" if column in right else "left", no_wrap=column != last, overflow="fold")
    for row in cells:
        table.add_row(*row)
    shown = [[Text(title) for title in head], *cells] if head else cells
    widths = [max(row[column].cell_len for row in shown) for column in others]
    print_rendered(table, min_width=sum(widths) + _GAP * len(others) + _MIN_WRAPPED)


def print_rendered(table: "Table", *, min_width: int = 0) -> None:
    """Print a table of rich. min_width: in a narrower terminal, the rows are not wrapped."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, emoji=False, width=None if is_terminal else _UNLIMITED)
    if console.width < min_width:
        console.width = _UNLIMITED
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))

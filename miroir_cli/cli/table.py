"""Tables for people: they fit the terminal, and are complete when they go into a pipe or a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Union

from miroir_cli.cli.failure import one_line

if TYPE_CHECKING:
    from rich.text import Text

GAP: Final = 2
"""Between two columns: the padding of the left one and what separates them in rich's box."""

SMALLEST: Final = 8
"""A column that may be cut is not made narrower than this; optional columns go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `keep`: never cut. `optional`: left out of a narrow terminal, the rightmost first."""

    name: str
    right: bool = False
    keep: bool = False
    optional: bool = False
    wrap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Styled:
    """A text in a style of rich's, such as `bold red`."""

    text: str
    style: str


Cell = Union[str, int, float, None, Styled, "Text"]
"""None is shown as `-`, whole numbers with separators, text on one line without control characters."""


def print_table(columns: Sequence[Column | str], rows: Iterable[Sequence[Cell]], *, title: str | None = None) -> None:
    """Print rows under headings on standard output. A terminal cuts cells with an ellipsis, a pipe never."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    described = [column if isinstance(column, Column) else Column(name=column) for column in columns]
    texts = [[_text(cell) for cell in row] for row in rows]
    width = terminal_width()
    shown = _fitting(described, texts, width)
    widths = _widths([described[position] for position in shown], [_natural(described, texts, p) for p in shown], width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), show_edge=False, title=title)
    table.title_justify = "left"
    table.title_style = "bold"
    for position, room in zip(shown, widths, strict=True):
        column = described[position]
        table.add_column(
            Text(column.name),
            justify="right" if column.right else "left",
            no_wrap=not column.wrap,
            overflow="fold" if column.wrap else "ellipsis",
            width=room,
        )
    for cells in texts:
        table.add_row(*(cells[position] for position in shown))
    console = Console(file=sys.stdout, width=width or 100_000, highlight=False, soft_wrap=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        sys.stdout.write(f"{line.rstrip()}\n")


def terminal_width() -> int | None:
    """The columns that a line may take; None when there is no terminal and no `COLUMNS`."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return None


def _fitting(columns: Sequence[Column], texts: Sequence[Sequence[Text]], width: int | None) -> list[int]:
    """Positions of the columns to show: optional ones are dropped from the right until the rest can fit."""
    shown = list(range(len(columns)))
    if width is None:
        return shown

    def smallest(position: int) -> int:
        natural = _natural(columns, texts, position)
        return natural if columns[position].keep else min(natural, SMALLEST)

    for position in reversed(range(len(columns))):
        if sum(smallest(each) + GAP for each in shown) <= width + GAP:
            break
        if columns[position].optional:
            shown.remove(position)
    return shown


def _widths(columns: Sequence[Column], natural: Sequence[int], width: int | None) -> list[int]:
    """How wide each column becomes: whole where possible, else the widest that may be cut give way."""
    widths = list(natural)
    if width is None:
        return widths
    excess = sum(widths) + GAP * (len(widths) - 1) - width
    for cuttable in ([not column.keep for column in columns], [True] * len(columns)):
        while excess > 0:
            position = max(range(len(widths)), key=lambda each: (cuttable[each], widths[each]))
            if not cuttable[position] or widths[position] <= 1:
                break
            widths[position] -= 1
            excess -= 1
    return widths


def _natural(columns: Sequence[Column], texts: Sequence[Sequence[Text]], position: int) -> int:
    from rich.cells import cell_len

    return max([cell_len(columns[position].name), *(cells[position].cell_len for cells in texts)])


def _text(cell: Cell) -> Text:
    from rich.text import Text

    if isinstance(cell, Text):
        return cell
    if isinstance(cell, Styled):
        return Text(one_line(cell.text), style=cell.style)
    if cell is None:
        return Text("-", style="dim")
    if isinstance(cell, bool):
        return Text("yes" if cell else "no")
    if isinstance(cell, int):
        return Text(f"{cell:,}")
    return Text(one_line(str(cell)))


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 batch`, `12,500 documents`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def spoken(seconds: float) -> str:
    """A length of time as people say it: `45 s`, `12 min`, `1 h 20 min`."""
    if round(seconds) < 90:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def clock_time(milliseconds: int, *, seconds: bool = False) -> str:
    """A moment, in milliseconds since 1970, in local time: the time alone when it is today's."""
    from datetime import datetime

    moment = datetime.fromtimestamp(milliseconds / 1000)
    clock = f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"
    return clock if moment.date() == datetime.now().date() else f"{moment:%Y-%m-%d} {clock}"

"""Tables for people: they fit the terminal, and are complete when they go into a pipe or a file.

On a terminal that is too narrow, optional columns go (and are named below the table), then texts are cut, with an
ellipsis; where so little would be left of a text that it says nothing, each row becomes a list of its values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Union

from miroir_cli.cli.failure import one_line
from miroir_cli.cli.prose import terminal_width, wrapped

if TYPE_CHECKING:
    from rich.text import Text

GAP: Final = 2
"""Between two columns."""

LEAST: Final = 24
"""Cells that a column keeps before an optional one is left out."""

FLOOR: Final = 12
"""Cells below which a cut text says nothing."""

MORE: Final = "a wider terminal or `--json` has them"

INVISIBLE: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\ufe0e\ufe0f"))
"""What joins and varies characters: terminals do not agree on how wide the result is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `keep`: never cut. `optional`: left out of a narrow terminal, the rightmost first. `wrap`: goes on in
    the next line. `name_like`: cut in the middle, as names differ most at their ends. `least`: cells that it keeps.
    `varies`: a terminal gets it only where rows differ in it."""

    name: str
    right: bool = False
    keep: bool = False
    optional: bool = False
    wrap: bool = False
    name_like: bool = False
    varies: bool = False
    least: int = LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Styled:
    """A text in a style of rich's, such as `bold red`."""

    text: str
    style: str


Cell = Union[str, int, float, None, Styled, "Text"]
"""None is shown as `-`, whole numbers with separators, text on one line without control characters."""


def print_table(
    columns: Sequence[Column | str], rows: Iterable[Sequence[Cell]], *, title: str | None = None, told: bool = True
) -> list[str]:
    """Print rows under headings on standard output; the names of the columns that had no room, which are also told
    below the table if `told`."""
    width = terminal_width()
    lines, hidden = table_lines(columns, rows, width=width, title=title)
    if hidden and told:
        lines += note(f"not shown: {', '.join(hidden)} ({MORE})", width)
    print_lines(lines)
    return hidden


def print_lines(lines: Iterable[Text]) -> None:
    """Print styled lines on standard output as they are."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    with console.capture() as captured:
        for line in lines:
            console.print(line, soft_wrap=True)
    for text in captured.get().splitlines():
        sys.stdout.write(f"{text.rstrip()}\n")


def note(text: str, width: int | None) -> list[Text]:
    """A remark below a table."""
    from rich.text import Text

    return [Text(line, style="dim") for line in wrapped(text, width).split("\n")]


def table_lines(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[Cell]],
    *,
    width: int | None,
    title: str | None = None,
) -> tuple[list[Text], list[str]]:
    """A table as lines of at most `width` cells (None: as wide as it is), and the names of columns without room."""
    from rich.text import Text

    described = [column if isinstance(column, Column) else Column(name=column) for column in columns]
    texts = [[_text(cell, whole=width is None) for cell in row] for row in rows]
    natural = [_natural(described, texts, position) for position in range(len(described))]
    told = [each for each, column in enumerate(described) if width is None or not column.varies or _differ(texts, each)]
    shown = _fitting(described, natural, told, width)
    heading = [Text(title, style="bold")] if title else []
    if width is not None and _needed(described, natural, shown, floor=FLOOR) > width:
        return heading + _stacked(described, texts, width), []
    widths = _widths([described[each] for each in shown], [natural[each] for each in shown], width)
    lines = [_line([Text(described[each].name, style="bold") for each in shown], described, shown, widths)]
    lines.append(Text("─" * (sum(widths) + GAP * (len(widths) - 1))))
    for cells in texts:
        lines += _row_lines(cells, described, shown, widths)
    return heading + lines, [described[each].name for each in told if each not in shown]


def _needed(columns: Sequence[Column], natural: Sequence[int], shown: Sequence[int], *, floor: int | None) -> int:
    """The width of a table in which nothing is cut below `floor` (None: below what its column keeps)."""
    kept = (
        natural[each] if columns[each].keep else min(natural[each], columns[each].least if floor is None else floor)
        for each in shown
    )
    return sum(kept) + GAP * (len(shown) - 1)


def _differ(rows: Sequence[Sequence[Text]], position: int) -> bool:
    return len({row[position].plain for row in rows}) > 1


def _fitting(columns: Sequence[Column], natural: Sequence[int], told: Sequence[int], width: int | None) -> list[int]:
    """Positions of the columns to show: optional ones are dropped from the right until the rest has room."""
    shown = list(told)
    for position in reversed(told):
        if width is None or _needed(columns, natural, shown, floor=None) <= width:
            break
        if columns[position].optional:
            shown.remove(position)
    return shown


def _widths(columns: Sequence[Column], natural: Sequence[int], width: int | None) -> list[int]:
    """How wide each column becomes: whole where possible, else the widest that may be cut give way."""
    widths = list(natural)
    excess = 0 if width is None else sum(widths) + GAP * (len(widths) - 1) - width
    while excess > 0:
        position = max(range(len(widths)), key=lambda each: (not columns[each].keep, widths[each]))
        widths[position] -= 1
        excess -= 1
    return widths


def _row_lines(
    cells: Sequence[Text], columns: Sequence[Column], shown: Sequence[int], widths: Sequence[int]
) -> list[Text]:
    """A row: one line, more where a text goes on in the next one."""
    from rich.text import Text

    parts = [
        _folded(cells[each], room) if columns[each].wrap else [_cut(cells[each], room, columns[each])]
        for each, room in zip(shown, widths, strict=True)
    ]
    height = max((len(part) for part in parts), default=0)
    return [
        _line([part[line] if line < len(part) else Text() for part in parts], columns, shown, widths)
        for line in range(height)
    ]


def _line(cells: Sequence[Text], columns: Sequence[Column], shown: Sequence[int], widths: Sequence[int]) -> Text:
    from rich.text import Text

    line = Text()
    for place, (cell, each, room) in enumerate(zip(cells, shown, widths, strict=True)):
        padding = " " * (room - cell.cell_len)
        line.append(" " * GAP if place else "")
        line.append_text(Text.assemble(padding, cell) if columns[each].right else Text.assemble(cell, padding))
    line.rstrip()
    return line


def _cut(text: Text, room: int, column: Column) -> Text:
    """The text in so many cells, with an ellipsis for what is left out."""
    if text.cell_len <= room:
        return text
    if column.name_like and room >= FLOOR // 2:
        return _cut_in_the_middle(text, room)
    cut = text.copy()
    cut.truncate(room, overflow="ellipsis")
    return cut


def _cut_in_the_middle(text: Text, room: int) -> Text:
    from rich.cells import cell_len

    plain = text.plain
    first, last = 0, len(plain)
    while cell_len(plain[: first + 1]) <= room // 2:
        first += 1
    while cell_len(plain[last - 1 :]) <= room - 1 - cell_len(plain[:first]):
        last -= 1
    cut = text[:first]
    cut.append("…")
    cut.append_text(text[last:])
    return cut


def _stacked(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[Text]:
    """Each row as a list of names and values, with an empty line between two rows."""
    from rich.text import Text

    label = max(_cells(column.name) for column in columns)
    lines: list[Text] = []
    for number, cells in enumerate(rows):
        lines += [Text()] if number else []
        for column, cell in zip(columns, cells, strict=True):
            for place, part in enumerate(_folded(cell, max(1, width - label - GAP))):
                name = column.name if not place else ""
                line = Text.assemble((name, "bold"), " " * (label - _cells(name) + GAP), part)
                line.rstrip()
                lines.append(line)
    return lines


def _folded(text: Text, room: int) -> list[Text]:
    """The text in lines of at most so many cells."""
    from rich.console import Console

    if text.cell_len <= room:
        return [text]
    lines = list(text.wrap(Console(width=room), room, overflow="fold"))
    for line in lines:
        line.rstrip()
    return lines


def _natural(columns: Sequence[Column], texts: Sequence[Sequence[Text]], position: int) -> int:
    return max([_cells(columns[position].name), *(cells[position].cell_len for cells in texts)])


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _text(cell: Cell, *, whole: bool) -> Text:
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
    text = one_line(str(cell))
    return Text(text if whole else text.translate(INVISIBLE))


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

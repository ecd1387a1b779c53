"""`--help` as text: plain, wrapped to the terminal, readable from 40 to 100 columns. Pure but for the width.

Not rich's boxes: they take longer to load than everything else together, and wrap badly in a narrow window.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from miroir_cli.cli.manual import Example
    from miroir_cli.cli.tree import Page, Parameter

NARROWEST: Final = 40
WIDEST: Final = 100
INDENT: Final = "  "
WIDEST_NAMES: Final = 30
"""Columns that names may take before their texts go below them."""

Row = tuple[str, str]


def terminal_width() -> int:
    """Columns to write in: the terminal's (or `COLUMNS`), within what can be read."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((80, 24)).columns))


def help_text(page: Page, *, width: int) -> str:
    """The help of a command or a group."""
    parts = [_text(page.manual.summary, width), _usage(page, width)]
    parts += [_text(paragraph, width) for paragraph in page.manual.paragraphs]
    if page.manual.examples:
        parts.append(_section("Examples", _examples(page.manual.examples, width)))
    if page.members:
        parts.append(_section("Commands", _rows(page.members, width)))
    if page.arguments:
        parts.append(_section("Arguments", _rows([(each.placeholder, each.help) for each in page.arguments], width)))
    rows = {heading: _option_rows(options) for heading, options in page.grouped().items()}
    column = _column([row for group in rows.values() for row in group], width)
    parts += [_section(heading, _rows(group, width, column=column)) for heading, group in rows.items()]
    parts.append(_text(_closing(page), width))
    return "\n\n".join(parts)


def root_help(page: Page, sections: Mapping[str, Sequence[Row]], *, width: int) -> str:
    """The help of `miroir` itself: its commands under headings."""
    column = _column([row for rows in sections.values() for row in rows], width)
    parts = [_text(page.manual.summary, width), _usage(page, width)]
    parts += [_text(paragraph, width) for paragraph in page.manual.paragraphs]
    parts += [_section(heading, _rows(rows, width, column=column)) for heading, rows in sections.items()]
    parts += [_section(heading, _rows(_option_rows(options), width)) for heading, options in page.grouped().items()]
    parts.append(_text(_closing(page), width))
    return "\n\n".join(parts)


def _closing(page: Page) -> str:
    """Where to go from here, and the rule for variables with an example of this very command."""
    if not page.words:
        return "More: `man miroir`. The tab key: `miroir completions --help`."
    if page.is_group:
        return f"`{page.name} COMMAND --help` explains one command, with examples."
    own = [option for option in page.options if option.variable and not option.is_global]
    if not own:
        return "Global options can be given as variables: `--json` is MIROIR_JSON=1."
    shown = next((option for option in own if option.value), own[0])
    value = shown.choices[0] if shown.choices else shown.value
    said = f"{shown.spellings[0]} {value}" if value else shown.spellings[0]
    return (
        f"Every option can be given as a variable: `{said}` is {shown.variable}={value or 1}, "
        "and of the global ones `--json` is MIROIR_JSON=1."
    )


def _option_rows(options: Iterable[Parameter]) -> list[Row]:
    """Long names stand below each other, as most have no short one."""
    rows = []
    for option in options:
        signature = option.signature
        rows.append((signature if signature[1] != "-" else f"    {signature}", option.explanation))
    return rows


def _usage(page: Page, width: int) -> str:
    usage = page.usage if page.words else "miroir [OPTIONS] COMMAND ..."
    return textwrap.fill(usage, width, initial_indent="Usage: ", subsequent_indent=" " * 9, break_on_hyphens=False)


def _section(heading: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{heading}:", *lines])


def _text(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def _column(rows: Sequence[Row], width: int) -> int:
    """Where texts begin: behind the longest name that leaves room for them."""
    most = min(WIDEST_NAMES, width // 2)
    fitting = [len(name) for name, _ in rows if len(name) <= most]
    return len(INDENT) + max(fitting, default=0) + 2


def _rows(rows: Sequence[Row], width: int, *, column: int | None = None) -> list[str]:
    """Names with their texts beside them, or below where the name is too long; all below in a narrow window."""
    column = _column(rows, width) if column is None else column
    beside = width - column >= NARROWEST - 10 and width >= 60
    lines: list[str] = []
    for name, text in rows:
        name = name if beside else name.strip()
        indent = " " * (column if beside else 6)
        wrapped = _text(text, width, indent).splitlines() if text else []
        if beside and wrapped and len(INDENT + name) + 2 <= column:
            wrapped[0] = f"{INDENT}{name}".ljust(column) + wrapped[0].strip()
            lines += wrapped
        else:
            lines += [*_text(name, width, INDENT).splitlines(), *wrapped]
    return lines


def _examples(examples: Sequence[Example], width: int) -> list[str]:
    """Lines to type with what they are for behind them; above them where that does not fit."""

    def fits(example: Example, column: int) -> bool:
        return len(INDENT) + max(column, len(example.command)) + len("  # ") + len(example.why) <= width

    behind = [each for each in examples if each.why and fits(each, 0)]
    column = max((len(each.command) for each in behind), default=0)
    lines: list[str] = []
    for each in examples:
        if each in behind:
            command = each.command.ljust(column if fits(each, column) else 0)
            lines.append(f"{INDENT}{command}  # {each.why}")
            continue
        if each.why:
            lines += _text(f"# {each.why}", width, INDENT).splitlines()
        lines += continued(each.command, width)
    return lines


def continued(command: str, width: int) -> list[str]:
    """A shell command in lines that fit, continued with `\\` between words, never inside quotes."""
    words = re.findall(r"""(?:[^\s'"]|'[^']*'|"[^"]*"|['"])+""", command)
    lines, line = [], INDENT + words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) + 2 > width:
            lines.append(f"{line} \\")
            line = INDENT * 2 + word
        else:
            line += f" {word}"
    return [*lines, line]

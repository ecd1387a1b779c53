"""Sentences on a terminal: broken between words, commands in backticks whole."""

from __future__ import annotations

import os
import re
import sys
from typing import Final, TextIO

ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
BETWEEN_WORDS: Final = re.compile(r" +(?=(?:[^`]*`[^`]*`)*[^`]*$)")
"""Spaces that do not stand in backticks."""


def terminal_width(stream: TextIO | None = None) -> int | None:
    """The columns that a line may take; None when the stream (standard output) is no terminal and there is no
    `COLUMNS`."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    try:
        return os.get_terminal_size((stream or sys.stdout).fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return None


def plain_terminal() -> bool:
    """Whether the terminal says of itself that it can only write lines."""
    return os.environ.get("TERM", "") in ("dumb", "unknown")


def wrapped(text: str, width: int | None) -> str:
    """The text with its lines broken between words so that they fit; None: as it is.

    What stands in backticks is for copying and stays together where a line has room for it; a longer word, such as a
    path, is left to the terminal. Lines that begin with spaces go on with as many.
    """
    if width is None:
        return text
    return "\n".join(line if cells(line) <= width else _broken(line, width) for line in text.split("\n"))


def cells(text: str) -> int:
    """The columns of a terminal that a text takes: wide characters take two, colours none."""
    plain = ANSI.sub("", text) if "\x1b" in text else text
    if plain.isascii():
        return len(plain)
    from rich.cells import cell_len

    return cell_len(plain)


def _broken(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip(" ")))
    lines = [indent]
    for word in _words(line.strip(" "), width - len(indent)):
        separator = "" if lines[-1] == indent else " "
        if separator and cells(lines[-1]) + 1 + cells(word) > width:
            lines.append(indent)
            separator = ""
        lines[-1] += separator + word
    return "\n".join(lines)


def _words(line: str, width: int) -> list[str]:
    return [
        word for part in BETWEEN_WORDS.split(line) for word in ([part] if cells(part) <= width else part.split(" "))
    ]

"""What a command's docstring says, in its parts: a sentence, paragraphs, examples. Pure.

    Import documents from files or from standard input.

    What it does, what it does not, what it leaves behind.

    Examples:
      miroir import books books.ndjson
      tail -n 20 books.ndjson | miroir import books -      # from another command

`miroir COMMAND --help`, the man pages and docs/reference/commands.md show the same text, and a test runs every example.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Final

LONGEST_SUMMARY: Final = 75
"""Characters of the first sentence, so that lists of commands stay on one line each."""

HEADING: Final = "Examples:"
COMMENT: Final = re.compile(r"\s{2,}# (.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A line to type, and what it is for when that is not plain."""

    command: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """A docstring in its parts. A paragraph is one line of text, however it was wrapped."""

    summary: str
    paragraphs: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


def read_manual(text: str) -> Manual:
    """Take a docstring apart. Whatever follows `Examples:` is examples, one a line."""
    prose, _, block = inspect.cleandoc(text).partition(f"\n{HEADING}\n")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", prose)]
    summary, *more = [part for part in paragraphs if part] or [""]
    lines = [line.strip() for line in block.splitlines()]
    return Manual(summary=summary, paragraphs=tuple(more), examples=tuple(_example(line) for line in lines if line))


def _example(line: str) -> Example:
    found = COMMENT.search(line)
    if found is None:
        return Example(command=line)
    return Example(command=line[: found.start()].rstrip(), why=found[1])

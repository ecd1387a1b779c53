"""On which line of a TOML text each key stands. Pure.

The parsers tell no lines of what they have read. This walks once through a text that they have found right: headers,
keys, and the tables and lists inside of values. Keys are spelled as errors spell them, `nodes[1].url`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

BARE = re.compile(r"[A-Za-z0-9_-]+")
BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
LONG_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'{3}.*?\'{3,5}', re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
OTHER = re.compile(r"[^,\]}\n#]*")


def lines_of(text: str) -> Mapping[str, int]:
    """The line of every table and key, the first being 1. What is not understood ends the walk, nothing raises."""
    walk = _Walk(text)
    walk.document()
    return walk.lines


def line_of(lines: Mapping[str, int], key: str) -> int | None:
    """The line of a key, or of the nearest table around it that stands somewhere."""
    while key:
        if key in lines:
            return lines[key]
        key = re.sub(r"(?:\.[^.\[]+|\[\d+\]|^[^.\[]+)$", "", key)
    return None


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[str, int] = {}
        self.counts: dict[str, int] = {}

    def document(self) -> None:
        table = ""
        while self.blank():
            before = self.at
            if self.text.startswith("[[", self.at):
                table = self.header("[[", "]]")
            elif self.text[self.at] == "[":
                table = self.header("[", "]")
            else:
                self.pair(table)
            if self.at == before:
                return

    def header(self, opening: str, closing: str) -> str:
        """Read `[a.b]` or `[[a]]`; the path that the keys below it belong to."""
        line = self.line()
        self.at += len(opening)
        names = self.names()
        self.take(closing)
        path = ""
        for position, name in enumerate(names):
            path = f"{path}.{name}" if path else name
            if opening == "[[" and position == len(names) - 1:
                self.lines.setdefault(path, line)
                number = self.counts.get(path, 0)
                self.counts[path] = number + 1
                path = f"{path}[{number}]"
            elif path in self.counts:
                path = f"{path}[{self.counts[path] - 1}]"
        self.lines.setdefault(path, line)
        return path

    def pair(self, table: str) -> None:
        """Read `key = value`, with what is inside of the value."""
        line = self.line()
        path = table
        for name in self.names():
            path = f"{path}.{name}" if path else name
            self.lines.setdefault(path, line)
        if self.take("="):
            self.value(path)

    def value(self, path: str) -> None:
        self.blank()
        if self.take("["):
            self.elements(path)
        elif self.take("{"):
            while self.blank() and not self.take("}"):
                before = self.at
                self.pair(path)
                self.take(",")
                if self.at == before:
                    return
        elif not (self.skip(LONG_STRING) or self.skip(STRING)):
            self.skip(OTHER)

    def elements(self, path: str) -> None:
        number = 0
        while self.blank() and not self.take("]"):
            before = self.at
            self.lines.setdefault(f"{path}[{number}]", self.line())
            self.value(f"{path}[{number}]")
            self.take(",")
            number += 1
            if self.at == before:
                return

    # -- small steps

    def names(self) -> list[str]:
        """Read a key of one or several parts."""
        found: list[str] = []
        while True:
            self.skip(re.compile(r"[ \t]*"))
            part = STRING.match(self.text, self.at) or BARE.match(self.text, self.at)
            if part is None:
                return found
            self.at = part.end()
            found.append(_bare(part.group()))
            self.skip(re.compile(r"[ \t]*"))
            if not self.text.startswith(".", self.at):
                return found
            self.at += 1

    def blank(self) -> bool:
        """Skip blanks and comments; whether anything follows."""
        self.skip(BLANK)
        return self.at < len(self.text)

    def take(self, sign: str) -> bool:
        self.skip(BLANK) if sign in ",]}" else self.skip(re.compile(r"[ \t]*"))
        if self.text.startswith(sign, self.at):
            self.at += len(sign)
            return True
        return False

    def skip(self, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self.text, self.at)
        if found is None or found.end() == self.at:
            return False
        self.at = found.end()
        return True

    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1


def _bare(part: str) -> str:
    if part.startswith("'"):
        return part[1:-1]
    if not part.startswith('"'):
        return part
    try:
        return str(json.loads(part))
    except ValueError:
        return part[1:-1]

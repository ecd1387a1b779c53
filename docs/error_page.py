"""docs/reference/errors.md: the tree of errors, and of each its cause and its cure from docs/errors.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from miroir_cli.errors import Interrupted, MiroirError
from miroir_cli.wire import STATUSES

Table = Callable[[Sequence[str], Sequence[tuple[str, ...]]], list[str]]

EXPLANATIONS = Path(__file__).with_name("errors.toml")


def error_lines(table: Table, exit_statuses: Mapping[int, str]) -> list[str]:
    """The page, without the note on top."""
    explained = tomllib.loads(EXPLANATIONS.read_text(encoding="utf-8"))
    lines = ["# Errors and exit statuses", ""]
    lines += [
        "An error is one line that says what and where, an empty line, and a hint with the next step, on standard",
        'error. With `--json`, standard output holds `{"error": {"code", "message", "hint"}}` unless the command had',
        "printed its document before. With `-v` the address of the error's section on this page follows.",
        "",
        "## Exit statuses",
        "",
    ]
    lines += table(["status", "meaning"], [(str(status), meaning) for status, meaning in exit_statuses.items()])
    lines += [
        "A script needs three of them: 0 is done, 5 and 8 are tried again later, all others need somebody to look.",
        "",
        "## All errors",
        "",
        "Indented errors are special cases of the one above. `miroir serve` answers the same codes, with the HTTP",
        "status of the last column.",
        "",
    ]
    lines += table(["error", "code", "exit", "HTTP"], list(_rows(MiroirError)))
    for kind in tree(MiroirError):
        lines += _section(kind, explained.get(kind.__name__, {"cause": "", "cure": ""}))
    for code, entry in explained["proxy"].items():
        lines += _proxy_section(code, entry)
    return lines


def tree(kind: type[MiroirError]) -> Iterator[type[MiroirError]]:
    """A class and everything below it."""
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def _rows(kind: type[MiroirError], depth: int = 0) -> Iterator[tuple[str, ...]]:
    link = f"[`{kind.code}`](#{kind.code})"
    yield "&emsp;" * depth + kind.__name__, link, _status(kind), str(kind.http_status)
    for child in kind.__subclasses__():
        yield from _rows(child, depth + 1)


def _status(kind: type[MiroirError]) -> str:
    return "130, 143" if kind is Interrupted else str(kind.exit_status)


def _section(kind: type[MiroirError], entry: dict[str, Any]) -> list[str]:
    again = " The same command may work later." if kind.retry_helps else ""
    return [f"## {kind.code}", "", f"Exit status {_status(kind)}, HTTP {kind.http_status}.{again}", "", *_body(entry)]


def _proxy_section(code: str, entry: dict[str, Any]) -> list[str]:
    return [f"## {code}", "", f"`miroir serve` only, HTTP {STATUSES[code]}.", "", *_body(entry)]


def _body(entry: dict[str, Any]) -> list[str]:
    return [f"**Cause.** {entry['cause']}", "", f"**Cure.** {entry['cure']}", ""]

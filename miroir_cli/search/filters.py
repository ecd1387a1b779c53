"""Client filters on their way to the nodes: what is rewritten, what is refused, how the shard filter is added. Pure.

`field != value` finds nothing on a node that never saw the field, where one big node would find the documents
without it: it becomes `NOT field = value`, which means the same and works everywhere. Nothing else is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from miroir_cli.errors import ReservedField, UsageError
from miroir_cli.model import RESERVED_PREFIX

TOKEN = re.compile(
    r"""(?P<quoted>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"""|(?P<different>!=)"""
    r"""|(?P<word>[^\s()=<>!'",\[\]]+)"""
    r"""|(?P<other>.)""",
    re.DOTALL,
)
_FOREIGN = "_foreign"
_ESCAPED = re.compile(
    r"\\(?:u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([0-3][0-7]{0,2}|[4-7][0-7]?)|(.))", re.DOTALL
)
"""An escape in a text in quotes; source: the `unescaper` crate."""


def rewrite(client: Any) -> list[Any]:
    """A client's filter as a list of elements that are all required.

    A string becomes one element, an array stays what it is (an inner array is an `OR`). Raises `ReservedField` for
    an attribute of miroir's own and `UsageError` for joins, which a node can only do with its own documents.
    """
    if client is None:
        return []
    if isinstance(client, list):
        return [_rewrite_element(element) for element in client]
    rewritten = _rewrite_element(client)
    return [] if isinstance(rewritten, str) and not rewritten.strip() else [rewritten]


def _rewrite_element(element: Any) -> Any:
    if isinstance(element, list):
        return [_rewrite_element(inner) for inner in element]
    return _rewrite_text(element) if isinstance(element, str) else element


def _rewrite_text(text: str) -> str:
    doubtful = RESERVED_PREFIX in text or _FOREIGN in text or "\\" in text
    if "!=" not in text and not doubtful:
        return text
    parts: list[str] = []
    operand: int | None = None
    for match in TOKEN.finditer(text):
        part = match.group()
        kind = match.lastgroup
        if kind in ("word", "quoted"):
            if doubtful:
                _refuse(_read(part.strip("'\"")), quoted=kind == "quoted")
            operand = len(parts)
        elif kind == "different" and operand is not None:
            parts[operand] = f"NOT {parts[operand]}"
            part = "="
            operand = None
        elif not part.isspace():
            operand = None
        parts.append(part)
    return "".join(parts)


def _read(text: str) -> str:
    """A text with its escapes undone."""
    return _ESCAPED.sub(_unescape, text)


def _unescape(match: re.Match[str]) -> str:
    braces, four, two, octal, other = match.groups()
    if other is not None:
        return str(other)
    code = int(octal, 8) if octal else int(braces or four or two, 16)
    return chr(code) if code < 0x110000 else match[0]


def _refuse(name: str, *, quoted: bool) -> None:
    if name.startswith(RESERVED_PREFIX):
        raise ReservedField(
            f"`filter` names `{name}`: attributes that begin with `{RESERVED_PREFIX}` are miroir's own",
            hint="leave that condition out",
        )
    if name == _FOREIGN and not quoted:
        raise UsageError(
            "`filter` uses `_foreign(...)`: a node can only join its own documents, not those of the whole cluster",
            hint="look the other index up first and filter by the values found",
        )


def as_text(elements: Iterable[Any]) -> str:
    """A filter of elements that are all required as one expression; an inner array is an `OR`."""
    return " AND ".join(
        "(" + (" OR ".join(f"({inner})" for inner in element) if isinstance(element, list) else str(element)) + ")"
        for element in elements
    )

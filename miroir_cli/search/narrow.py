"""Fewer shards for filters that name primary keys. Pure.

A filter that requires `id = 7` or `id IN [7, 8]` can only keep documents of the shards of these keys. What is found
here is never too little: where it is not certain which keys a value finds, nothing is left out.

What a value finds, by Meilisearch's rules: keys that are numbers of its value (`7.0` finds 7), and keys that are texts
and equal to it but for the case of letters (`ab` finds `AB`). Keys are integers, or letters, digits, `-` and `_`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import product
from math import isfinite
from typing import Any

from miroir_cli.model import ShardId
from miroir_cli.search.filters import TOKEN

MOST_SPELLINGS = 16
"""Of a key with letters all spellings are looked up, in upper and lower case; with more, nothing is left out."""

EXACT = 2**53
"""Below, every integer is a number of its own in an index."""

MOST_BRACKETS = 64
"""Of a filter with more, nothing is left out: each may be inside another."""

_KEY = re.compile(r"[a-z0-9_-]{1,400}")
_CLOSING = {"(": ")", "[": "]"}

Keys = frozenset[str]
Token = tuple[str, str]


def narrowed(
    filters: Sequence[Any], primary_key: str, shard_of: Callable[[str], ShardId]
) -> tuple[ShardId, ...] | None:
    """The only shards that may have matching documents, at least one; None for all. All `filters` are required."""
    keys = _all(_of_element(element, primary_key) for element in filters)
    return None if keys is None else tuple(sorted({shard_of(key) for key in keys})) or (ShardId(0),)


def _all(parts: Any) -> Keys | None:
    """The keys of conditions that are all required; None for a condition that names no keys."""
    found: Keys | None = None
    for part in parts:
        if part is not None:
            found = part if found is None else found & part
    return found


def _of_element(element: Any, primary_key: str) -> Keys | None:
    if isinstance(element, str):
        if element.count("(") > MOST_BRACKETS:
            return None
        tokens = [(str(m.lastgroup), m.group()) for m in TOKEN.finditer(element) if not m.group().isspace()]
        return _of_tokens(tokens, primary_key)
    if isinstance(element, list) and element:
        found: set[str] = set()
        for keys in (_of_element(inner, primary_key) for inner in element if isinstance(inner, str)):
            if keys is None:
                return None
            found |= keys
        return frozenset(found) if all(isinstance(inner, str) for inner in element) else None
    return None


def _of_tokens(tokens: Sequence[Token], primary_key: str) -> Keys | None:
    parts = _required(tokens)
    return None if parts is None else _all(_of_condition(part, primary_key) for part in parts)


def _required(tokens: Sequence[Token]) -> list[list[Token]] | None:
    """The conditions between `AND`; None where any of them is not required, or the brackets do not match."""
    parts: list[list[Token]] = [[]]
    open_: list[str] = []
    for kind, text in tokens:
        if kind == "other" and text in _CLOSING:
            open_.append(_CLOSING[text])
        elif kind == "other" and text in _CLOSING.values():
            if not open_ or open_.pop() != text:
                return None
        elif kind == "word" and not open_ and text.upper() in ("AND", "OR"):
            if text != "AND":
                return None
            parts.append([])
            continue
        parts[-1].append((kind, text))
    return None if open_ else parts


def _of_condition(tokens: Sequence[Token], primary_key: str) -> Keys | None:
    texts = [text for _, text in tokens]
    if len(tokens) > 2 and texts[0] == "(" and texts[-1] == ")":
        return _of_tokens(tokens[1:-1], primary_key)
    if len(tokens) < 3 or _text(tokens[0]) != primary_key:
        return None
    if len(tokens) == 3 and texts[1] == "=":
        return _found_by(_text(tokens[2]))
    if texts[1:3] == ["IN", "["] and texts[-1] == "]" and all(text == "," for text in texts[4:-1:2]):
        values = [_found_by(_text(token)) for token in tokens[3:-1:2]]
        known = [keys for keys in values if keys is not None]
        return frozenset[str]().union(*known) if len(known) == len(values) else None
    return None


def _text(token: Token) -> str | None:
    """What a word or a text in quotes says; None where that needs a closer look."""
    kind, text = token
    if kind == "word":
        return text
    return text[1:-1] if kind == "quoted" and "\\" not in text else None


def _found_by(value: str | None) -> Keys | None:
    """The keys, as text, of the documents that a value can find."""
    if value is None or not value.isascii():
        return None
    found: set[str] = set()
    text = value.strip().lower()
    if len(text) > 400:
        return None
    if _KEY.fullmatch(text):
        letters = sum(map(str.isalpha, text))
        if 2**letters > MOST_SPELLINGS:
            return None
        found.update(map("".join, product(*({letter, letter.upper()} for letter in text))))
    try:
        number = float(value)
    except ValueError:
        return frozenset(found)
    if isfinite(number) and number.is_integer():
        if abs(number) >= EXACT:
            return None
        found.add(str(int(number)))
    return frozenset(found)

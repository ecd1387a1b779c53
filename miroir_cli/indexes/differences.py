"""Comparing settings: whether a node has those that it should have, and what a change changes. Pure.

A node gives some values back otherwise than it was sent them, and masks secrets: that is no difference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.indexes.settings import KEYS, to_node

if TYPE_CHECKING:
    from miroir_cli.model import Json

_IN_ORDER = ("rankingRules", "searchableAttributes")
"""Lists of which the order means something."""


def differences(expected: Json, found: Json, *, path: str = "") -> list[str]:
    """Paths at which a node's settings are not what was sent; null does not count, and of embedders only the names do
    (their secrets are masked)."""
    wrong: list[str] = []
    for key, given in expected.items():
        where = f"{path}{key}"
        value, other = _comparable(key, given), _comparable(key, found.get(key))
        if not path and key == "embedders":
            wrong += [key] if _names(given) != _names(found.get(key)) else []
            continue
        if value is None:
            continue
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            wrong += differences(value, other, path=f"{where}.")
        elif isinstance(value, list) and isinstance(other, list):
            if _as_set(value) != _as_set(other):
                wrong.append(where)
        elif value != other:
            wrong.append(where)
    return wrong


def defaults_from(reserved: Json) -> dict[str, Any]:
    """The settings of an index on a node that nobody has changed, from those of the reserved index there: that one is
    only hidden from searches."""
    return {**reserved, "displayedAttributes": ["*"], "searchableAttributes": ["*"]}


def drift(
    user: Json, found: Json, *, defaults: Json, primary_key: str, tie_break: bool, default_rules: Sequence[str]
) -> list[str]:
    """Settings that a node has otherwise than it should, also those that the user left alone.

    `defaults` are the complete settings of an index on that node that nobody has changed. Of embedders only the names
    count: their secrets are masked.
    """
    expected = to_node(user, primary_key=primary_key, tie_break=tie_break, default_rules=default_rules)

    def is_right(key: str) -> bool:
        if key == "embedders":
            return _names(expected[key]) == _names(found[key])
        wanted = _comparable(key, _completed(expected[key], defaults.get(key)))
        return _same(wanted, _comparable(key, found[key]), ordered=key in _IN_ORDER)

    return [key for key in KEYS if key in found and not is_right(key)]


def _names(embedders: Json | None) -> set[str]:
    """The embedders that there are; null stands for one that is taken away."""
    return {name for name, parts in (embedders or {}).items() if parts is not None}


def _completed(value: Any, default: Any) -> Any:
    """What a node has once it was sent a value: the parts that were left alone are at their defaults."""
    if value is None:
        return default
    if isinstance(value, Mapping) and isinstance(default, Mapping):
        given = {key: _completed(inner, default.get(key)) for key, inner in value.items()}
        return {**default, **{key: inner for key, inner in given.items() if inner is not None or key in default}}
    return value


def _same(left: Any, right: Any, *, ordered: bool) -> bool:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            _same(_comparable(key, left[key]), _comparable(key, right[key]), ordered=ordered) for key in left
        )
    if isinstance(left, list) and isinstance(right, list) and not ordered:
        return _as_set(left) == _as_set(right)
    return bool(left == right)


def _comparable(key: str, value: Any) -> Any:
    """A value as far as a node gives it back: it folds stop words and words without typos, and spells languages in its
    own way."""
    if key in ("disableOnWords", "stopWords") and isinstance(value, list):
        letters = (unicodedata.normalize("NFKD", str(word)).lower() for word in value)
        return ["".join(letter for letter in word if not unicodedata.combining(letter)) for word in letters]
    if key == "localizedAttributes" and isinstance(value, list):
        return [{**rule, "locales": len(rule.get("locales") or ())} for rule in value]
    return value


def _as_set(values: Sequence[object]) -> list[bytes]:
    return sorted(msgspec.json.encode(value, order="sorted") for value in values)


def diff(left: Json, right: Json) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, with both values (None: not set)."""
    keys = dict.fromkeys([*left, *right])
    return {key: (left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)}

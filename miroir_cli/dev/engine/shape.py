"""Cutting documents to the fields asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def select(document: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Keep the named fields; `a.b` reaches into objects and arrays of objects."""
    return _select_object(document, list(fields), "")


def _select_object(value: dict[str, Any], fields: Sequence[str], base: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{base}.{key}" if base else key
        if any(name == field or name.startswith(field + ".") for field in fields):
            kept[key] = inner
        elif any(field.startswith(name + ".") for field in fields):
            if isinstance(inner, dict):
                cut: Any = _select_object(inner, fields, name)
            elif isinstance(inner, list):
                cut = _select_array(inner, fields, name)
            else:
                continue
            kept[key] = cut
    return kept


def _select_array(values: list[Any], fields: Sequence[str], base: str) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if isinstance(value, dict):
            if cut := _select_object(value, fields, base):
                kept.append(cut)
        elif isinstance(value, list):
            kept.append(_select_array(value, fields, base))
    return kept

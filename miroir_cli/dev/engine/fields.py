"""Walking a document: which values lie under which dotted field name."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .text import normalize_facet, truncate_facet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MATCH, PARENT, NO_MATCH = 2, 1, 0


@dataclass(slots=True)
class FacetValues:
    """What one document holds in one field, as filters see it."""

    numbers: set[float] = field(default_factory=set)
    strings: dict[str, str] = field(default_factory=dict)
    null: bool = False
    empty: bool = False


def walk(document: dict[str, Any], selection: Callable[[str], int]) -> Iterator[tuple[str, Any, bool]]:
    """Yield (field, value, on_key) for every value of selected fields, parents before children.

    `on_key` is False for the members of arrays. Arrays and objects are yielded too.
    """
    for name, value in document.items():
        chosen = selection(name)
        if chosen == NO_MATCH:
            continue
        if chosen == MATCH and not isinstance(value, (dict, list)):
            yield name, value, True
        elif isinstance(value, dict):
            yield from _inside_object(value, name, selection)
        elif isinstance(value, list):
            yield from _inside_array(value, name, selection)


def _inside_object(
    members: dict[str, Any], base: str, selection: Callable[[str], int]
) -> Iterator[tuple[str, Any, bool]]:
    for key, value in members.items():
        name = f"{base}.{key}" if base else key
        chosen = selection(name)
        if chosen == NO_MATCH:
            continue
        if chosen == MATCH:
            yield name, value, True
        if isinstance(value, dict):
            yield from _inside_object(value, name, selection)
        elif isinstance(value, list):
            yield from _inside_array(value, name, selection)


def _inside_array(members: list[Any], name: str, selection: Callable[[str], int]) -> Iterator[tuple[str, Any, bool]]:
    for value in members:
        if isinstance(value, dict):
            yield from _inside_object(value, name, selection)
        elif isinstance(value, list):
            yield from _inside_array(value, name, selection)
        elif selection(name) == MATCH:
            yield name, value, False


def facet_values(document: dict[str, Any], selection: Callable[[str], int]) -> dict[str, FacetValues]:
    """Collect the facet values of every selected field that the document has."""
    found: dict[str, FacetValues] = {}
    for name, value in document.items():
        if isinstance(value, (dict, list)) and selection(name) == MATCH:
            entry = found.setdefault(name, FacetValues())
            entry.empty = entry.empty or not value
    for name, value, on_key in walk(document, selection):
        entry = found.get(name) or found.setdefault(name, FacetValues())
        if isinstance(value, str):
            if value:
                entry.strings.setdefault(truncate_facet(normalize_facet(value)), value)
            elif on_key:
                entry.empty = True
        elif isinstance(value, bool):
            text = "true" if value else "false"
            entry.strings.setdefault(text, text)
        elif isinstance(value, (int, float)):
            entry.numbers.add(float(value))
        elif value is None:
            entry.null = entry.null or on_key
        elif not value and on_key:
            entry.empty = True
    return found


def names(document: dict[str, Any]) -> Iterator[str]:
    """Yield every field name of a document, nested ones dotted."""
    for name, value in document.items():
        yield name
        if isinstance(value, (dict, list)):
            for nested, _, _ in walk({name: value}, lambda _: MATCH):
                yield nested


def number_text(value: float) -> str:
    """Write a number as Meilisearch does: no exponent for facets, no `.0` on whole numbers."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return format(Decimal(repr(value)), "f").removesuffix(".0")

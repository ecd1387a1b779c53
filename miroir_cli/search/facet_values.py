"""The values that one document has in a field, as Meilisearch's facets, filters and `distinct` see them. Pure.

Numbers and strings are two kinds. Strings are compared in a normalised form, of which at most 468 bytes count;
booleans are strings; null, empty strings, arrays and objects are no values. Source: `facet_document.rs` and
`normalize_facet` of Meilisearch 1.50.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

LONGEST = 468
"""Bytes of a normalised string that are compared."""

Value = float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValues:
    """`strings`: normalised form -> how the document spells it. `blank`: a text without any character is among them,
    which is no value."""

    numbers: frozenset[float]
    strings: Mapping[str, str]
    blank: bool = False

    @property
    def all(self) -> frozenset[Value]:
        return self.numbers.union(self.strings)


def facet_values(document: Mapping[str, Any], name: str) -> FacetValues:
    """The values of a field; a dotted name leads into objects and the objects of arrays."""
    numbers: set[float] = set()
    strings: dict[str, str] = {}
    blank = False
    for value in _leaves(document, name):
        if isinstance(value, bool):
            strings["true" if value else "false"] = "true" if value else "false"
        elif isinstance(value, int | float):
            numbers.add(float(value))
        elif isinstance(value, str):
            blank = blank or not value.strip()
            if value:
                strings.setdefault(cut(normalise(value)), value)
    return FacetValues(numbers=frozenset(numbers), strings=strings, blank=blank)


def _leaves(part: Mapping[str, Any], name: str) -> Iterator[Any]:
    if name in part:
        yield from _flat(part[name])
    place = name.find(".")
    while place >= 0:
        yield from _inside(part.get(name[:place]), name[place + 1 :])
        place = name.find(".", place + 1)


def _flat(value: Any) -> Iterator[Any]:
    """The values of an array and of the arrays in it; objects have names of their own."""
    if isinstance(value, list):
        for inner in value:
            yield from _flat(inner)
    else:
        yield value


def _inside(value: Any, name: str) -> Iterator[Any]:
    for part in _flat(value):
        if isinstance(part, dict):
            yield from _leaves(part, name)


def normalise(text: str) -> str:
    """A string as Meilisearch compares facet and sort values: trimmed, compatibility decomposed, lower case."""
    if text.isascii():
        return text.strip().lower()
    return unicodedata.normalize("NFKD", text.strip()).lower()


def cut(text: str) -> str:
    if len(text) * 4 <= LONGEST:
        return text
    return text.encode("utf-8", "surrogatepass")[:LONGEST].decode(errors="ignore")


def number_text(value: float) -> str:
    """A number as the key of a facet: no exponent, no `.0`."""
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return format(Decimal(repr(value)), "f").removesuffix(".0")

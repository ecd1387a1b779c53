"""Facet distributions and statistics over a set of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import bits
from .attributes import is_under, matches_pattern
from .errors import EngineError
from .fields import number_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .facets import Column
    from .index import Index

_NUMERIC_ORDER_ABOVE = 3000


def requested(index: Index, facets: Sequence[str]) -> list[str]:
    """Return the known fields that the `facets` of a search name; refuse what is not filterable."""
    settings = index.settings
    for name in facets:
        patterned = "*" in name
        features = settings.features(name)
        if patterned or (features is not None and features.filterable):
            continue
        known = settings.patterns(lambda features: features.filterable)
        listed = ", ".join(known)
        has = (
            f"Available filterable attributes patterns are: `{listed}`."
            if known
            else ("This index does not have configured filterable attributes.")
        )
        message = f"Invalid facet distribution: Pattern `{name}` is not filterable. {has}"
        raise EngineError("invalid_search_facets", message)
    found = []
    for field in sorted(index.fields):
        features = settings.features(field)
        if features is None or not features.filterable:
            continue
        if any(is_under(field, name) or ("*" in name and matches_pattern(name, field)) for name in facets):
            found.append(field)
    return found


def counts(column: Column, docs: int) -> tuple[dict[float, int], dict[str, int]]:
    """Count the documents of each number and each folded string."""
    numbers = _counted(column, column.numbers, docs)
    strings = _counted(column, column.strings, docs)
    return numbers, strings


def _counted(column: Column, values: dict[Any, set[int]], docs: int) -> dict[Any, int]:
    result = {}
    for value, members in values.items():
        if len(members) > 64:
            count = (column.documents(value) & docs).bit_count()
        else:
            count = sum(docs >> number & 1 for number in members)
        if count:
            result[value] = count
    return result


def distribution(index: Index, field: str, docs: int) -> dict[str, int]:
    """Return the counts of one field in the order and number the settings ask for."""
    column = index.facets.columns.get(field)
    if column is None:
        return {}
    faceting = index.settings["faceting"]
    limit = faceting["maxValuesPerFacet"]
    numbers, strings = counts(column, docs)
    by_count = facet_order(index, field) == "count"
    found = list(numbers.items())
    texts = sorted(strings.items())
    if by_count:
        found.sort(key=lambda item: (item[1], item[0]), reverse=True)
        texts.sort(key=lambda item: (item[1], item[0]), reverse=True)
    elif docs.bit_count() > _NUMERIC_ORDER_ABOVE:
        found.sort()
    else:
        found.sort(key=lambda item: number_text(item[0]))
    result = {number_text(value): count for value, count in found[:limit]}
    for text, count in texts[: limit - len(result)]:
        result[original(index, field, text, docs)] = count
    return result


def facet_order(index: Index, field: str) -> str:
    """Return `alpha` or `count` for a field."""
    orders: dict[str, str] = index.settings["faceting"]["sortFacetValuesBy"]
    return orders.get(field, orders.get("*", "alpha"))


def original(index: Index, field: str, value: str, docs: int) -> str:
    """Return a folded string as the first of some documents spells it."""
    column = index.facets.columns[field]
    numbers = bits.lowest(column.documents(value) & docs, 1)
    if not numbers:
        return value
    found = index.document_facets(index.document(numbers[0])).get(field)
    return found.strings.get(value, value) if found is not None else value


def stats(index: Index, field: str, docs: int) -> dict[str, float] | None:
    """Return the least and the greatest number of a field, None without numbers."""
    column = index.facets.columns.get(field)
    if column is None:
        return None
    ordered = column.ordered_numbers()
    low = next((value for value in ordered if column.documents(value) & docs), None)
    if low is None:
        return None
    high = next(value for value in reversed(ordered) if column.documents(value) & docs)
    return {"min": low, "max": high}

"""Documents sorted as a node sorts them, told from the documents themselves. Pure.

Source: `documents/sort.rs` of Meilisearch 1.50. A document of several values stands at the first of them: the least
number or text ascending, the greatest descending, numbers before texts both ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miroir_cli.search.facet_values import facet_values
from miroir_cli.search.rules import ORDERED
from miroir_cli.search.view import GEO

_POINT = re.compile(r"^\s*_geoPoint\(\s*(?P<lat>[^,()]+?)\s*,\s*(?P<lng>[^,()]+?)\s*\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SortRule:
    """Order by a field, or by the distance of `_geo` from a point (latitude, longitude)."""

    field: str
    ascending: bool
    point: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """As the score details of a hit name it."""
        place = self.field if self.point is None else f"_geoPoint({self.point[0]}, {self.point[1]})"
        return f"{place}:{'asc' if self.ascending else 'desc'}"


def sort_rules(texts: Sequence[str]) -> tuple[SortRule, ...] | None:
    """The rules of a `sort`; None when one of them is none, which is for a node to say."""
    found: list[SortRule] = []
    for text in texts:
        match = ORDERED.match(text)
        if match is None:
            return None
        ascending, point = match["direction"] == "asc", None
        field = match["field"]
        if field.lstrip().startswith("_geo"):
            point = _point(field)
            if point is None:
                return None
            field = GEO
        found.append(SortRule(field=field, ascending=ascending, point=point))
    return tuple(found)


def _point(text: str) -> tuple[float, float] | None:
    match = _POINT.match(text)
    try:
        return (float(match["lat"]), float(match["lng"])) if match else None
    except ValueError:
        return None


def sort_details(document: Mapping[str, Any], rules: Sequence[SortRule]) -> dict[str, Any]:
    """The sort values of a document in the shape of a hit's score details, which `rank_keys` reads."""
    details: dict[str, Any] = {}
    for order, rule in enumerate(rules):
        if rule.point is not None:
            details[rule.name] = {"order": order, "value": document.get(GEO), "distance": None}
        else:
            details[rule.name] = {"order": order, "value": sort_value(document, rule)}
    return details


def sort_value(document: Mapping[str, Any], rule: SortRule) -> float | str | None:
    """What a node sorts a document by: a number, a text in normalised form, or None."""
    found = facet_values(document, rule.field)
    best = min if rule.ascending else max
    if found.numbers:
        return best(found.numbers)
    return best(found.strings) if found.strings else None

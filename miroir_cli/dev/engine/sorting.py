"""Sort criteria: reading them, and ordering sets of documents by them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import bits
from .attributes import is_listed
from .errors import EngineError
from .geo import distance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .index import Index

_GEO = re.compile(r"_geoPoint\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SortRule:
    """Order by a field, or by the distance to a point."""

    field: str
    ascending: bool
    point: tuple[float, float] | None = None


def parse_sort(index: Index, texts: Sequence[str], code: str, *, named: bool = True) -> list[SortRule]:
    """Read `field:asc` and `_geoPoint(lat,lng):desc`; refuse what is not sortable with `code`."""
    sortable = index.settings["sortableAttributes"]
    prefix = f"Index `{index.uid}`: " if named else ""
    rules: list[SortRule] = []
    for text in texts:
        name, _, direction = text.rpartition(":")
        if not name or direction not in ("asc", "desc"):
            wanted = f"expected expression ending by `:asc` or `:desc`, found `{text}`."
            message = f"Invalid syntax for the sort parameter: {wanted}"
            raise EngineError(code, message)
        ascending = direction == "asc"
        if name.startswith("_geoPoint("):
            rule = SortRule(field="_geo", ascending=ascending, point=_point(name, text, code))
        elif name.startswith("_geo"):
            message = f"`{name}` is a reserved keyword and thus can't be used as a sort expression."
            raise EngineError(code, message)
        else:
            rule = SortRule(field=name, ascending=ascending)
        if not is_listed(rule.field, sortable):
            known = ", ".join(sortable)
            has = (
                f"Available sortable attributes are: `{known}`."
                if sortable
                else ("This index does not have configured sortable attributes.")
            )
            raise EngineError(code, f"{prefix}Attribute `{rule.field}` is not sortable. {has}")
        rules.append(rule)
    return rules


def _point(name: str, text: str, code: str) -> tuple[float, float]:
    match = _GEO.match(name)
    try:
        if match is None:
            raise ValueError
        point = float(match[1]), float(match[2])
    except ValueError:
        raise EngineError(code, f"Invalid syntax for the geo parameter: `{text}`.") from None
    if not -90 <= point[0] <= 90 or not -180 <= point[1] <= 180:
        raise EngineError(code, f"Bad coordinates in `{text}`.")
    return point


def sorted_numbers(index: Index, rules: Sequence[SortRule], universe: int, count: int) -> list[int]:
    """Return the first documents in sort order; those that lack a sorted value are left out."""
    found: list[int] = []
    for bucket in _buckets(index, rules, universe):
        found += bits.lowest(bucket, count - len(found))
        if len(found) >= count:
            break
    return found


def _buckets(index: Index, rules: Sequence[SortRule], universe: int) -> Iterator[int]:
    if not rules:
        yield universe
        return
    rule, rest = rules[0], rules[1:]
    if rule.point is not None:
        for _, bucket, _ in geo_groups(index, rule, universe):
            yield from _buckets(index, rest, bucket)
        return
    column = index.facets.columns.get(rule.field)
    if column is None:
        yield from _buckets(index, rest, universe)
        return
    for value, bucket in column.sorted_groups(universe, ascending=rule.ascending):
        if value is not None or not bucket & column.exists:
            yield from _buckets(index, rest, bucket)
        elif left := bucket & ~column.exists:
            yield from _buckets(index, rest, left)


def geo_groups(
    index: Index, rule: SortRule, universe: int
) -> Iterator[tuple[tuple[float, float] | None, int, float | None]]:
    """Yield (point, documents, metres) by distance; documents within a metre stand together.

    Documents without coordinates come last, in both directions.
    """
    assert rule.point is not None
    placed = [n for n in bits.members(universe) if n in index.points]
    metres = {n: distance(rule.point, index.points[n]) for n in placed}
    exact = len(placed) >= 1000
    placed.sort(key=lambda n: (metres[n] if exact else int(metres[n]), n))
    if not rule.ascending:
        placed.reverse()
    rest = universe
    start = 0
    while start < len(placed):
        first = placed[start]
        end, group = start, 0
        while end < len(placed) and end - start < 1000 and abs(metres[placed[end]] - metres[first]) <= 1.0:
            group |= 1 << placed[end]
            end += 1
        rest ^= group
        yield index.points[first], group, metres[first]
        start = end
    if rest:
        yield None, rest, None

"""Ranking by distance over several nodes: each hit's own distance, regrouped as one node would group them. Pure.

A node reports the distance of the first hit of a rank, not of every hit, and its ranks depend on the hits it has.
So the distance is computed again from `_geo`, and the ranks are formed again over all hits.

Source of the rules: `documents/geo_sort.rs` of Meilisearch 1.50. A rank holds the positions whose distance is within
1 m of its first one's, at most 1,000. Below 1,000 candidates positions are ordered by whole metres, then by their
place in the index (here: the primary key); from 1,000 on by exact distance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import asin, cos, floor, radians, sqrt
from typing import Any

Point = tuple[float, float]

EARTH_RADIUS = 6_371_000.0
MARGIN = 1.0
LARGEST_RANK = 1000
ORDERED_BY_METRES_BELOW = 1000

_RULE = re.compile(r"^_geoPoint\(\s*([^,\s]+)\s*,\s*([^)\s]+)\s*\):(asc|desc)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoRule:
    """A sort by the distance from `target`, as the details of a hit name it."""

    target: Point
    ascending: bool


@lru_cache(maxsize=256)
def geo_rule(name: str) -> GeoRule | None:
    """The rule that a key such as `_geoPoint(48.85, 2.35):asc` names; None for any other key."""
    match = _RULE.match(name)
    if match is None:
        return None
    try:
        return GeoRule(target=(float(match[1]), float(match[2])), ascending=match[3] == "asc")
    except ValueError:
        return None


def point_of(geo: Any) -> Point | None:
    """The position in a document's `_geo`, whose numbers may be written as text; None without one."""
    if not isinstance(geo, dict):
        return None
    try:
        return float(geo["lat"]), float(geo["lng"])
    except (KeyError, TypeError, ValueError):
        return None


@lru_cache(maxsize=8192)
def distance(first: Point, second: Point) -> float:
    """Metres between two positions on a sphere, rounded to millimetres as Meilisearch's geo library does."""
    north, east = radians(first[0]), radians(first[1])
    other_north, other_east = radians(second[0]), radians(second[1])
    haversine = (1 - cos(other_north - north)) / 2 + cos(north) * cos(other_north) * (1 - cos(other_east - east)) / 2
    metres = 2 * EARTH_RADIUS * asin(sqrt(min(haversine, 1.0)))
    return floor(metres * 1000 + 0.5) / 1000


def ranks(
    points: Sequence[Point | None], ties: Sequence[Any], rule: GeoRule, *, candidates: int
) -> list[tuple[int, int] | None]:
    """For each position its rank (0 is best) and which of the positions is the rank's first; None without position.

    `ties` orders positions that are the same number of metres away; `candidates` is how many documents one node
    would rank here.
    """
    metres = [None if point is None else distance(rule.target, point) for point in points]
    located = [(place, metre) for place, metre in enumerate(metres) if metre is not None]
    if candidates < ORDERED_BY_METRES_BELOW:
        located.sort(key=lambda entry: (int(entry[1]), ties[entry[0]]))
    else:
        located.sort(key=lambda entry: entry[1])
    if not rule.ascending:
        located.reverse()
    found: list[tuple[int, int] | None] = [None] * len(points)
    rank, first, size, start = -1, 0, 0, 0.0
    for place, metre in located:
        if rank < 0 or abs(start - metre) > MARGIN or size == LARGEST_RANK:
            rank, first, size, start = rank + 1, place, 0, metre
        found[place] = (rank, first)
        size += 1
    return found

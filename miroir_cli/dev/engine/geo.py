"""Distances on the sphere, as Meilisearch rounds them."""

from __future__ import annotations

import math

_RADIUS = 6_371_000.0


def distance(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return metres between two (latitude, longitude) points, rounded to millimetres."""
    low, high = math.radians(first[0]), math.radians(second[0])
    along = math.radians(second[1] - first[1])
    half = (1 - math.cos(high - low)) / 2 + math.cos(low) * math.cos(high) * (1 - math.cos(along)) / 2
    metres = 2 * _RADIUS * math.asin(math.sqrt(min(1.0, half)))
    return math.floor(metres * 1000 + 0.5) / 1000

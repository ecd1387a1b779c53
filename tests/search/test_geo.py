from __future__ import annotations

from math import inf
from typing import Any

import pytest

from miroir_cli.search.geo import GeoRule, distance, geo_rule, point_of, ranks
from miroir_cli.search.rank import rank_keys

EAST = 1 / 111_194.9266
"""Degrees of longitude at the equator in one metre."""


def east(metres: float) -> tuple[float, float]:
    return (0.0, metres * EAST)


def rank_numbers(metres: list[float | None], *, ascending: bool = True, candidates: int = 10) -> list[int | None]:
    rule = GeoRule(target=(0.0, 0.0), ascending=ascending)
    points = [None if metre is None else east(metre) for metre in metres]
    return [found and found[0] for found in ranks(points, range(len(points)), rule, candidates=candidates)]


def test_a_rule_is_read_from_the_key_of_the_details() -> None:
    assert geo_rule("_geoPoint(48.85, -2.3):desc") == GeoRule(target=(48.85, -2.3), ascending=False)
    assert geo_rule("_geoPoint(1,2):asc") == GeoRule(target=(1.0, 2.0), ascending=True)
    assert geo_rule("price:asc") is None
    assert geo_rule("_geoPoint(x, 2):asc") is None


def test_positions_may_be_written_as_text() -> None:
    assert point_of({"lat": "48.5", "lng": 2}) == (48.5, 2.0)
    nowhere: list[Any] = [None, [], {}, {"lat": 1}, {"lat": "x", "lng": 1}]
    assert [point_of(geo) for geo in nowhere] == [None] * 5


def test_distances_are_those_of_a_sphere_in_millimetres() -> None:
    paris, london = (48.8566, 2.3522), (51.5074, -0.1278)
    assert distance(paris, london) == pytest.approx(343_556.06, abs=0.01)
    assert distance(paris, paris) == 0.0
    assert distance((0.0, 0.0), (0.0, 180.0)) == pytest.approx(20_015_086.796)


def test_positions_within_a_metre_of_the_first_are_one_rank() -> None:
    assert rank_numbers([10.2, 10.9, 11.1, 11.3, 50.0]) == [0, 0, 0, 1, 2]


def test_far_ones_come_first_when_descending_and_hits_without_position_have_no_rank() -> None:
    assert rank_numbers([10.0, None, 300.0], ascending=False) == [1, None, 0]


def test_few_candidates_are_ordered_by_whole_metres_then_by_place() -> None:
    assert rank_numbers([10.9, 10.1, 11.5]) == [0, 0, 0]
    assert rank_numbers([10.9, 10.1, 11.5], candidates=1000) == [0, 0, 1]


def geo_hit(key: int, metres: float | None, **details: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": key}
    if metres is not None:
        lat, lng = east(metres)
        found["_geo"] = {"lat": lat, "lng": lng}
    found["_rankingScoreDetails"] = {
        "_geoPoint(0, 0):asc": {"order": 0, "value": found.get("_geo"), "distance": metres},
        "year:desc": {"order": 1, **details},
    }
    return found


def test_a_later_rule_decides_within_a_rank_formed_over_all_nodes() -> None:
    hits = [geo_hit(1, 10.0, value=1990.0), geo_hit(2, None, value=2020.0), geo_hit(3, 10.6, value=2000.0)]
    keys = rank_keys(hits, primary_key="id", candidates=3)
    assert [hits[place]["id"] for place in sorted(range(3), key=keys.__getitem__)] == [3, 1, 2]
    assert keys[1][0] == inf


def test_details_name_the_first_position_of_the_rank() -> None:
    hits = [geo_hit(3, 10.6, value=2000.0), geo_hit(1, 10.0, value=1990.0)]
    rank_keys(hits, primary_key="id", candidates=3)
    for hit in hits:
        assert hit["_rankingScoreDetails"]["_geoPoint(0, 0):asc"]["distance"] == pytest.approx(10.0, abs=0.001)

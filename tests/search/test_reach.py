"""Sorts by distance where many positions lie within a metre of each other."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.model import StoredUid
from miroir_cli.search.reach import Reach, goes_beyond, reach
from miroir_cli.search.scatter import search
from tests.oracle.world import UID, embedded_nodes, fill, real_nodes, real_server, two_sides

RULE = "_geoPoint(48.0, 2.0):asc"


def end(metres: float | None, *, ascending: bool = True, before: tuple[Any, ...] = ()) -> Reach:
    return Reach(before=before, ascending=ascending, metres=metres)


@pytest.mark.parametrize(
    ("list_end", "needed_end", "beyond"),
    [
        (end(100.0), end(50.0), True),
        (end(51.5), end(50.0), False),
        (end(50.0), end(100.0), False),
        (end(50.0, ascending=False), end(100.0, ascending=False), True),
        (end(100.0, ascending=False), end(50.0, ascending=False), False),
        (end(None), end(50.0), True),
        (end(50.0), end(None), False),
        (end(50.0, before=(2,)), end(50.0, before=(1,)), True),
        (None, None, True),
    ],
)
def test_a_list_goes_beyond_what_is_needed(list_end: Reach | None, needed_end: Reach | None, beyond: bool) -> None:
    assert goes_beyond(list_end, needed_end) is beyond


def test_the_reach_of_a_hit_is_told_by_the_rules_before_the_distance() -> None:
    details = {
        "words": {"order": 0, "matchingWords": 1, "score": 1.0},
        RULE: {"order": 1, "value": None, "distance": 7.0},
        "price:asc": {"order": 2, "value": 3.0},
    }
    assert reach({"_rankingScoreDetails": details}) == end(7.0, before=[("words", 1.0)])  # type: ignore[arg-type]
    assert reach({"_rankingScoreDetails": {"words": {"order": 0, "score": 1.0}}}) is None


SETTINGS = {"sortableAttributes": ["_geo", "price"], "filterableAttributes": ["price"]}


def dense(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Documents 30 cm from each other, many at one place, some without a position."""
    step = 0.3 / 111_195
    documents: list[dict[str, Any]] = []
    for key in range(count):
        document: dict[str, Any] = {"id": key, "title": rng.choice(["sea", "sea view"]), "price": rng.randint(1, 9)}
        if rng.random() < 0.95:
            document["_geo"] = {"lat": 48.0 + step * rng.randrange(count // 2), "lng": 2.0}
        documents.append(document)
    return documents


def requests(rng: random.Random, count: int) -> list[dict[str, Any]]:
    found = []
    for _ in range(count):
        rules = [f"_geoPoint(48.0, 2.0):{rng.choice(['asc', 'desc'])}", f"price:{rng.choice(['asc', 'desc'])}"]
        request: dict[str, Any] = {"sort": rules if rng.random() < 0.7 else rules[::-1]}
        request |= rng.choice([{"q": "sea"}, {"q": "sea view"}, {}, {"filter": "price < 5"}])
        request |= rng.choice([{"limit": 3}, {"limit": 10, "offset": 17}, {"page": 2, "hitsPerPage": 30}, {"limit": 1}])
        found.append(request)
    return found


@pytest.mark.parametrize("count", [300, 1400])
async def test_positions_within_a_metre_are_ranked_as_on_one_node(tmp_path: Path, count: int) -> None:
    with embedded_nodes(tmp_path, 4) as urls:
        await compare(tmp_path / "cluster", urls, count, asked=12)


@pytest.mark.live
@pytest.mark.parametrize("count", [300, 1400, 5000])
async def test_positions_within_a_metre_are_ranked_as_on_one_server(tmp_path: Path, count: int) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    with real_nodes(binary, 4) as urls:
        await compare(tmp_path, urls, count, asked=60)


async def compare(folder: Path, urls: list[str], count: int, *, asked: int) -> None:
    rng = random.Random(count)
    async with two_sides(folder, urls) as both:
        await fill(both, UID, documents=dense(rng, count), settings=SETTINGS, plain=True)
        for request in requests(rng, asked):
            request |= {"showRankingScoreDetails": True, "attributesToRetrieve": ["id", "price"]}
            single = await both.single.search(StoredUid(UID), request)
            found = await search(both.cluster, UID, request)
            assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in single["hits"]], request
            assert [distances(hit) for hit in found["hits"]] == [distances(hit) for hit in single["hits"]], request


def distances(hit: dict[str, Any]) -> list[Any]:
    return [detail["distance"] for name, detail in hit["_rankingScoreDetails"].items() if name.startswith("_geoPoint")]

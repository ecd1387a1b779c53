"""Sorts by fields that the nodes do not display."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.model import StoredUid
from miroir_cli.search.hidden import hidden_rules, reveal, sort_rules
from miroir_cli.search.multi import multi_search
from miroir_cli.search.scatter import search
from miroir_cli.search.sorting import SortRule, sort_value
from tests.oracle.world import UID, embedded_nodes, fill, real_nodes, real_server, two_sides

PRICE, RANK = SortRule(field="price", ascending=True), SortRule(field="maker.rank", ascending=False)


@pytest.mark.parametrize(
    ("document", "ascending", "value"),
    [
        ({"x": 5}, True, 5.0),
        ({"x": [3, 9, "a"]}, True, 3.0),
        ({"x": [3, 9, "a"]}, False, 9.0),
        ({"x": [" Été", "zoo"]}, True, "e\u0301te\u0301"),
        ({"x": ["a", "b"]}, False, "b"),
        ({"x": True}, True, "true"),
        ({"x": ""}, True, None),
        ({"x": " "}, True, ""),
        ({"x": None}, True, None),
        ({"x": []}, True, None),
        ({}, True, None),
    ],
)
def test_a_sort_value_is_the_first_that_a_node_meets(document: dict[str, Any], ascending: bool, value: Any) -> None:
    assert sort_value(document, SortRule(field="x", ascending=ascending)) == value


def test_sorts_stand_in_the_order_of_the_ranking_rules() -> None:
    request = {"sort": ["price:asc", "_geoPoint(1, 2):asc", "maker.rank:desc", "price:desc"]}
    last = SortRule(field="id", ascending=True)
    assert sort_rules(request, None, last="id:asc") == [PRICE, None, RANK, last]
    rules = ["price:asc", "words", "sort", "sort", "year:desc"]
    assert sort_rules(request, rules, last=None) == [PRICE, None, RANK, SortRule(field="year", ascending=False)]


def test_hidden_values_are_put_where_they_belong() -> None:
    details = {
        "words": {"order": 0, "matchingWords": 1},
        "price:asc": {"order": 1, "value": 3.0},
        "<hidden-rule-2>": {"order": 2, "value": "<hidden>"},
        "id:asc": {"order": 3, "value": 1.0},
    }
    hits: list[dict[str, Any]] = [{"id": 1, "_rankingScoreDetails": details}]
    hidden = hidden_rules(hits, [PRICE, RANK, SortRule(field="id", ascending=True)])
    assert hidden == {"<hidden-rule-2>": RANK}
    reveal(hits, hidden, {"1": {"id": 1, "maker": {"rank": [4, 2]}}}, "id")
    assert list(hits[0]["_rankingScoreDetails"]) == ["words", "price:asc", "maker.rank:desc", "id:asc"]
    assert hits[0]["_rankingScoreDetails"]["maker.rank:desc"] == {"order": 2, "value": 4.0}


SETTINGS = {"sortableAttributes": ["maker", "price"], "displayedAttributes": ["id", "title"]}
NAMES = ["acme", "Borealis", "10", "Été"]


def documents(rng: random.Random) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key in range(120):
        document: dict[str, Any] = {"id": key, "title": rng.choice(["sea", "sea view"]), "price": rng.randint(1, 3)}
        if rng.random() < 0.8:
            document["maker"] = {"rank": rng.choice([1, 2, [5, 0], None, "x"]), "name": rng.choice(NAMES)}
        found.append(document)
    return found


REQUESTS: list[dict[str, Any]] = [
    {"sort": [f"{name}:{direction}"], **more}
    for name in ("maker.rank", "maker.name")
    for direction in ("asc", "desc")
    for more in ({"q": "sea"}, {"showRankingScoreDetails": True, "limit": 50}, {"q": "view", "offset": 13})
] + [{"sort": ["price:asc", "maker.rank:desc", "maker.name:asc"], "showRankingScoreDetails": True, "limit": 120}]


async def test_a_sort_by_a_hidden_field_is_that_of_one_node(tmp_path: Path) -> None:
    with embedded_nodes(tmp_path, 4) as urls:
        await compare(tmp_path / "cluster", urls)


@pytest.mark.live
async def test_a_sort_by_a_hidden_field_is_that_of_one_server(tmp_path: Path) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    with real_nodes(binary, 4) as urls:
        await compare(tmp_path, urls)


async def compare(folder: Path, urls: list[str]) -> None:
    async with two_sides(folder, urls) as both:
        await fill(both, UID, documents=documents(random.Random(7)), settings=SETTINGS, plain=True)
        for request in REQUESTS:
            single = await both.single.search(StoredUid(UID), request)
            assert (await search(both.cluster, UID, request))["hits"] == single["hits"], request
        queries = [{"indexUid": UID, "q": q, "sort": ["maker.rank:desc", "maker.name:asc"]} for q in ("sea", "view")]
        body = {"queries": queries, "federation": {"limit": 60}}
        single = await both.single.read("multi-search", body)
        assert (await multi_search(both.cluster, body))["hits"] == single["hits"]

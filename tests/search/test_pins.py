"""Pinned documents among ranked ones, from several nodes as from one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from miroir_cli.model import StoredUid
from miroir_cli.node.client import NodeClient
from miroir_cli.search.multi import multi_search
from miroir_cli.search.pins import around_pins, position_of, separate
from miroir_cli.search.scatter import search
from tests.oracle.world import UID, World, fill, real_nodes, real_server, two_sides


@pytest.mark.parametrize(
    ("pins", "ranked", "expected"),
    [
        ([], "abc", "abc"),
        ([(0, "P")], "abc", "Pabc"),
        ([(1, "P"), (2, "Q")], "abc", "aPQbc"),
        ([(1, "P"), (1, "Q")], "abc", "aPQbc"),
        ([(9, "P"), (9, "Q")], "ab", "abPQ"),
        ([(0, "P"), (5, "Q")], "", "PQ"),
    ],
)
def test_pins_stand_where_they_are_pinned_or_at_the_end(
    pins: list[tuple[int, str]], ranked: str, expected: str
) -> None:
    assert "".join(around_pins(pins, ranked)) == expected


def test_pins_are_told_apart_by_their_details() -> None:
    hits: list[dict[str, Any]] = [
        {"id": 1, "_rankingScoreDetails": {"pin": {"order": 0, "position": 4}}},
        {"id": 2, "_rankingScoreDetails": {"words": {"order": 0}}},
        {"id": 3, "_rankingScoreDetails": {"pin": {"order": 0, "position": 1}}},
        {"id": 4},
    ]
    assert [position_of(hit) for hit in hits] == [4, None, 1, None]
    pins, others = separate(hits, lambda hit: hit)
    assert ([pin["id"] for _, pin in pins], [hit["id"] for hit in others]) == ([3, 1], [2, 4])


SETTINGS = {
    "filterableAttributes": ["color"],
    "sortableAttributes": ["price"],
    "embedders": {"e": {"source": "userProvided", "dimensions": 2}},
}
DOCUMENTS = [
    {
        "id": key,
        "title": f"sun sky {key}",
        "color": ["red", "Blue"][key % 2],
        "price": key % 5,
        "_vectors": {"e": [1, key / 10]},
    }
    for key in range(40)
]
PINS = {
    "first": {"precedence": 1, "actions": [(7, 0), (8, 2)]},
    "second": {"precedence": 2, "actions": [(30, 3), (31, 9), (32, 25)]},
    "moon": {"precedence": 3, "actions": [(12, 30)], "conditions": {"query": {"words": "moon"}}},
}
REQUESTS: list[dict[str, Any]] = [
    {"q": "sun"},
    {"q": "moon"},
    {"q": "sun", "limit": 5},
    {"q": "sun", "offset": 2, "limit": 3},
    {"q": "sun", "page": 3, "hitsPerPage": 9},
    {"filter": "color = red"},
    {"q": "sun", "sort": ["price:desc"], "limit": 12},
    {"q": "sun", "rankingScoreThreshold": 0.99},
    {"q": "nothing of it", "matchingStrategy": "all"},
    *(
        {"q": query, "vector": [1, 0.5], "hybrid": {"embedder": "e", "semanticRatio": ratio}, **window}
        for query in ("sun", "moon")
        for ratio in (0.2, 0.5, 0.9, 1.0)
        for window in ({}, {"offset": 2, "limit": 3}, {"page": 2, "hitsPerPage": 9}, {"sort": ["price:desc"]})
    ),
]


async def pin_documents(client: NodeClient) -> None:
    await client.write("PATCH", "experimental-features", content=msgspec.json.encode({"dynamicSearchRules": True}))
    for name, rule in PINS.items():
        actions = [
            {"selector": {"indexUid": UID, "id": str(key)}, "action": {"type": "pin", "position": position}}
            for key, position in rule["actions"]  # type: ignore[attr-defined]
        ]
        content = msgspec.json.encode({**rule, "actions": actions})
        await client.write("PATCH", f"dynamic-search-rules/{name}", content=content)
    await client.wait_task(await client.top_task())


@pytest.mark.live
async def test_rules_pin_documents_in_a_cluster_as_on_one_server(tmp_path: Path) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    with real_nodes(binary, 4) as urls:
        async with two_sides(tmp_path, urls) as both:
            await fill(both, UID, documents=DOCUMENTS, settings=SETTINGS, plain=True)
            clients = [both.single, *(both.cluster.fleet[name] for name in both.cluster.fleet)]
            await asyncio.gather(*map(pin_documents, clients))
            assert both.cluster.features is not None
            await both.cluster.fleet.each(both.cluster.features.learn)
            assert not any(both.cluster.features.pins_nothing(name) for name in both.cluster.fleet)
            for request in REQUESTS:
                await answers_agree(both, {**request, "showRankingScore": True})
                await answers_agree(both, request)
            for queries in ([REQUESTS[0]], [REQUESTS[1], REQUESTS[5]]):
                body = {"queries": [{"indexUid": UID, **query} for query in queries], "federation": {"limit": 11}}
                single = await both.single.read("multi-search", body)
                found = await multi_search(both.cluster, body)
                assert without_time(found) == without_time(single)


async def answers_agree(both: World, request: dict[str, Any]) -> None:
    single = await both.single.search(StoredUid(UID), request)
    assert without_time(await search(both.cluster, UID, request)) == without_time(single), request


def without_time(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("processingTimeMs", "requestUid")}

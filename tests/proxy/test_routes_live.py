"""The proxy over two real nodes, and one plain Meilisearch, hear the same requests about indexes and settings."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from pprint import pformat
from typing import Any

import httpx
import msgspec
import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.indexes.drift import mend_drift
from miroir_cli.model import NodeName, StoredUid
from miroir_cli.proxy.app import Proxy
from miroir_cli.proxy.background import start
from miroir_cli.proxy.service import open_service
from miroir_cli.topology.file import load_topology
from tests.backends import state_lines
from tests.contract.conftest import running_meilisearch
from tests.contract.server import ANEW
from tests.proxy.guarded import MASTER

pytestmark = pytest.mark.live

VARYING = re.compile(r"(At|Uid|uid|key|duration|Size|size|version|processingTimeMs|lastUpdate|total|next|from)$")
"""Names of values that differ between any two servers."""


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A plain server, and two that become a cluster."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(running_meilisearch(tmp_path_factory.mktemp(name), MASTER))
            for name in ("plain", "one", "two")
        ]


class Pair:
    """The two of them, asked the same."""

    def __init__(self, plain: httpx.AsyncClient, proxy: httpx.AsyncClient, cluster: Cluster) -> None:
        self.clients = (plain, proxy)
        self.cluster = cluster

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[Any, Any]:
        """Both answers with their status, and those of the tasks they make."""
        return (
            await self._one(self.clients[0], method, path, body),
            await self._one(self.clients[1], method, path, body),
        )

    async def _one(self, client: httpx.AsyncClient, method: str, path: str, body: Any) -> Any:
        response = await client.request(method, path, json=body)
        answer: Any = response.json() if response.content else None
        if response.status_code != 202:
            return response.status_code, compared(answer)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            task = (await client.get(f"/tasks/{answer['taskUid']}")).json()
            if task["status"] not in ("enqueued", "processing"):
                return 202, compared(answer), compared(task)
            await asyncio.sleep(0.02)
        raise AssertionError(f"no end of {method} {path}")


def compared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: compared(each) for key, each in value.items() if not VARYING.search(key)}
    return [compared(each) for each in value] if isinstance(value, list) else value


@pytest.fixture
async def pair(urls: list[str], tmp_path: Path) -> AsyncIterator[Pair]:
    """A plain server without indexes, and the proxy of a new cluster on nodes without indexes."""
    headers = {"authorization": f"Bearer {MASTER}"}
    for url in urls:
        async with httpx.AsyncClient(base_url=url, headers=headers, limits=ANEW) as client:
            for index in (await client.get("/indexes", params={"limit": 100})).json()["results"]:
                await client.delete(f"/indexes/{index['uid']}")
            for _ in range(1000):
                if not (await client.get("/tasks", params={"statuses": "enqueued,processing"})).json()["results"]:
                    break
                await asyncio.sleep(0.02)
    (tmp_path / "key").write_text(MASTER)
    lines = ["[cluster]", 'name = "test"', "shards = 4", "replicas = 2", *state_lines()]
    lines += ["[defaults]", 'key_file = "key"']
    for number, url in enumerate(urls[1:], 1):
        lines += ["[[nodes]]", f'name = "n{number}"', f'url = "{url}"']
    path = tmp_path / "miroir.toml"
    path.write_text("\n".join(lines))
    async with open_service(load_topology(path)) as service:
        start(service)
        transport = httpx.ASGITransport(app=Proxy(service))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://proxy", headers=headers, timeout=60) as proxy,
            httpx.AsyncClient(base_url=urls[0], headers=headers, timeout=60, limits=ANEW) as plain,
        ):
            yield Pair(plain, proxy, service.cluster)


INDEXES: list[tuple[str, str, Any]] = [
    ("POST", "/indexes", {"uid": "a"}),
    ("POST", "/indexes", {"uid": "a"}),
    ("POST", "/indexes", {"uid": "b c"}),
    ("POST", "/indexes", {}),
    ("POST", "/indexes", []),
    ("POST", "/indexes", {"uid": 5, "primaryKey": 5}),
    ("POST", "/indexes", {"uid": "a", "foo": 5}),
    ("GET", "/indexes/a", None),
    ("GET", "/indexes/nope", None),
    ("GET", "/indexes/b%20c", None),
    ("GET", "/indexes?limit=x", None),
    ("GET", "/indexes?foo=x", None),
    ("GET", "/indexes", None),
    ("POST", "/indexes/a/search", {}),
    ("GET", "/indexes/a/stats", None),
    ("GET", "/indexes/a/settings", None),
    ("POST", "/indexes/a/fields", {}),
    ("PATCH", "/indexes/a", {"primaryKey": "id"}),
    ("PATCH", "/indexes/a", {"primaryKey": "sku"}),
    ("PATCH", "/indexes/a", {"primaryKey": None}),
    ("PATCH", "/indexes/a", {}),
    ("PATCH", "/indexes/a", {"createdAt": "x"}),
    ("PATCH", "/indexes/a", {"foo": "x"}),
    ("PATCH", "/indexes/a", {"primaryKey": 5}),
    ("PATCH", "/indexes/a", {"uid": "x y"}),
    ("PATCH", "/indexes/nope", {"primaryKey": "x"}),
    ("PATCH", "/indexes/a/settings", {"rankingRules": ["sku:desc", "words"], "displayedAttributes": ["t", "sku"]}),
    ("PUT", "/indexes/a/documents", [{"sku": n, "n": {"a": 1}, "t": "x"} for n in range(20)] + [{"sku": 50, "q": [1]}]),
    ("PATCH", "/indexes/a", {"primaryKey": "id"}),
    ("PATCH", "/indexes/a", {"primaryKey": "sku"}),
    ("GET", "/indexes/a", None),
    ("GET", "/indexes/a/stats", None),
    ("GET", "/indexes/a/stats?foo=1", None),
    ("GET", "/stats", None),
    ("GET", "/stats?sizeFormat=human", None),
    ("GET", "/stats?sizeFormat=foo", None),
    ("POST", "/indexes/a/fields", {}),
    ("POST", "/indexes/a/fields", {"filter": {"displayed": True}, "limit": 2}),
    ("POST", "/indexes/a/fields", {"filter": {"rankingRule": True}}),
    ("POST", "/indexes/a/fields", {"filter": {"attributePatterns": ["n*"]}}),
    ("POST", "/indexes/a/fields", {"filter": {"foo": True}}),
    ("POST", "/indexes/nope/fields", {}),
    ("POST", "/swap-indexes", []),
    ("POST", "/swap-indexes", {}),
    ("POST", "/swap-indexes", [5]),
    ("POST", "/swap-indexes", [{}]),
    ("POST", "/swap-indexes", [{"foo": 1}]),
    ("POST", "/swap-indexes", [{"indexes": ["a"]}]),
    ("POST", "/swap-indexes", [{"indexes": ["a b", "m"]}]),
    ("POST", "/swap-indexes", [{"indexes": ["a", "a"]}]),
    ("POST", "/swap-indexes", [{"indexes": ["a", "m"]}, {"indexes": ["m", "a"]}]),
    ("DELETE", "/indexes/a", None),
    ("DELETE", "/indexes/a", None),
    ("GET", "/indexes", None),
]

SETTINGS: list[tuple[str, str, Any]] = [
    ("GET", "/indexes/s/settings", None),
    ("PATCH", "/indexes/s/settings", {"stopWords": ["the", "a"], "displayedAttributes": None}),
    ("GET", "/indexes/s", None),
    ("PATCH", "/indexes/s/settings", {"filterableAttributes": ["x", {"attributePatterns": ["y"]}]}),
    ("PATCH", "/indexes/s/settings", {"synonyms": {"b": ["c"], "a": ["d"]}, "typoTolerance": {"enabled": False}}),
    (
        "PATCH",
        "/indexes/s/settings",
        {"embedders": {"e": {"source": "userProvided", "dimensions": 3}, "f": {"source": "foo"}}},
    ),
    ("PATCH", "/indexes/s/settings", {"embedders": {"e": {"source": "userProvided", "dimensions": 3}}}),
    ("GET", "/indexes/s/settings", None),
    ("PATCH", "/indexes/s/settings", {"rankingRules": ["foo"]}),
    ("PATCH", "/indexes/s/settings", {"typoTolerance": {"minWordSizeForTypos": {"oneTypo": 9, "twoTypos": 1}}}),
    ("PATCH", "/indexes/s/settings", {"foo": 1}),
    ("PATCH", "/indexes/s/settings", []),
    ("PUT", "/indexes/s/settings/stop-words", ["b", "a"]),
    ("PUT", "/indexes/s/settings/stop-words", {}),
    ("PATCH", "/indexes/s/settings/stop-words", ["a"]),
    ("PUT", "/indexes/s/settings/distinct-attribute", "x"),
    ("PUT", "/indexes/s/settings/search-cutoff-ms", -1),
    ("PATCH", "/indexes/s/settings/faceting", {"maxValuesPerFacet": 3}),
    ("PATCH", "/indexes/s/settings/pagination", {"maxTotalHits": 30}),
    ("PATCH", "/indexes/s/settings/typo-tolerance", {"disableOnWords": ["z", "y"]}),
    ("GET", "/indexes/s/settings", None),
    ("DELETE", "/indexes/s/settings", None),
    ("GET", "/indexes/s/settings", None),
    ("DELETE", "/indexes/nope/settings", None),
    ("PUT", "/indexes/b%20b/settings/stop-words", ["a"]),
    ("GET", "/experimental-features", None),
    ("PATCH", "/experimental-features", {"metrics": 5}),
    ("PATCH", "/experimental-features", {"foo": True}),
    ("PATCH", "/experimental-features", {"containsFilter": True}),
    ("PATCH", "/experimental-features", {"containsFilter": False}),
]
NAMES = (
    "displayed-attributes searchable-attributes filterable-attributes sortable-attributes ranking-rules stop-words "
    "non-separator-tokens separator-tokens dictionary synonyms distinct-attribute proximity-precision typo-tolerance "
    "faceting pagination embedders search-cutoff-ms localized-attributes facet-search prefix-search foreign-keys chat"
).split()


async def compare(pair: Pair, requests: list[tuple[str, str, Any]]) -> None:
    found = []
    for method, path, body in requests:
        one, two = await pair.ask(method, path, body)
        if one != two:
            found.append((method, path, body, one, two))
    assert found == [], pformat(found, width=200)


async def test_indexes(pair: Pair) -> None:
    await compare(pair, INDEXES)


async def test_settings(pair: Pair) -> None:
    await compare(pair, SETTINGS)


async def test_each_setting(pair: Pair) -> None:
    await pair.ask("POST", "/indexes", {"uid": "s"})
    requests: list[tuple[str, str, Any]] = []
    for name in NAMES:
        path = f"/indexes/s/settings/{name}"
        requests += [("GET", path, None), ("PUT", path, {"x": 1}), ("PATCH", path, {"x": 1}), ("DELETE", path, None)]
    await compare(pair, requests)


async def test_files_and_compaction(pair: Pair) -> None:
    await pair.ask("POST", "/indexes", {"uid": "s"})
    requests = [
        ("POST", f"/{name}", None) for name in ("dumps", "snapshots", "indexes/s/compact", "indexes/no/compact")
    ]
    await compare(pair, [*requests, ("GET", "/indexes/s", None)])


RICH = {
    "displayedAttributes": ["t", "id"],
    "searchableAttributes": ["t", "u"],
    "filterableAttributes": ["x", {"attributePatterns": ["y*"], "features": {"facetSearch": True}}],
    "sortableAttributes": ["z", "_geo"],
    "rankingRules": ["words", "z:desc", "typo"],
    "stopWords": ["the", "élan"],
    "synonyms": {"b": ["c"], "a": ["d e"]},
    "dictionary": ["J. R. R."],
    "separatorTokens": ["|"],
    "distinctAttribute": "x",
    "typoTolerance": {"minWordSizeForTypos": {"oneTypo": 3}, "disableOnWords": ["Æon"], "disableOnAttributes": ["u"]},
    "faceting": {"maxValuesPerFacet": 7, "sortFacetValuesBy": {"x": "count"}},
    "pagination": {"maxTotalHits": 50},
    "localizedAttributes": [{"attributePatterns": ["t"], "locales": ["jpn"]}],
    "searchCutoffMs": 900,
    "embedders": {
        "mine": {"source": "userProvided", "dimensions": 3},
        "far": {
            "source": "rest",
            "url": "http://127.0.0.1:1",
            "apiKey": "a secret of some length",
            "dimensions": 2,
            "request": {"input": "{{text}}"},
            "response": {"data": "{{embedding}}"},
        },
    },
}


async def test_settings_of_a_real_node_are_put_back_and_left_alone_otherwise(pair: Pair) -> None:
    cluster, proxy = pair.cluster, pair.clients[1]
    await pair.ask("POST", "/indexes", {"uid": "s", "primaryKey": "id"})
    await compare(pair, [("PATCH", "/indexes/s/settings", RICH), ("GET", "/indexes/s/settings", None)])
    assert await mend_drift(cluster) == {}
    client = cluster.fleet[NodeName("n2")]
    before = await client.settings(StoredUid("s"))
    assert before["embedders"]["far"]["apiKey"] == "a sXXXXX..."
    changes = {"embedders": {"far": None}, "stopWords": ["other"], "filterableAttributes": None, "typoTolerance": None}
    answer = await client.write("PATCH", "indexes/s/settings", content=msgspec.json.encode(changes))
    await client.wait_task(answer.task)  # type: ignore[union-attr]
    assert await client.settings(StoredUid("s")) != before
    assert await mend_drift(cluster) == {"s": (NodeName("n2"),)}
    assert await client.settings(StoredUid("s")) == before
    assert await mend_drift(cluster) == {}
    assert (await proxy.get("/indexes/s/settings")).json()["embedders"]["far"]["apiKey"] == "a sXXXXX..."

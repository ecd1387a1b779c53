"""Backups and copies on real Meilisearch servers: both directions, the same answers everywhere."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import httpx

from miroir_cli.backup.create import CreateOptions, create_backup
from miroir_cli.backup.into_cluster import IntoCluster
from miroir_cli.backup.into_server import IntoServer
from miroir_cli.backup.plain import PlainServer
from miroir_cli.backup.restore import RestoreOptions, restore_backup
from miroir_cli.backup.target import LocalTarget
from miroir_cli.cluster import Cluster
from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.search.scatter import search
from tests.backup.test_copying import finish
from tests.conftest import Miroir
from tests.faults.servers import LIVE, PATIENCE, Server, servers_of
from tests.faults.world import UID
from tests.indexes.test_real_embedders import REST

pytestmark = LIVE

SETTINGS: dict[str, Any] = {
    "filterableAttributes": ["year", "genre"],
    "sortableAttributes": ["year"],
    "synonyms": {"robot": ["machine"]},
    "stopWords": ["the"],
    "typoTolerance": {"minWordSizeForTypos": {"oneTypo": 4}},
    "embedders": {"topics": {"source": "userProvided", "dimensions": 3}},
}
WORDS = ("robot", "machine", "garden", "night", "river", "dune", "ocean", "glass")


def book(number: int) -> dict[str, Any]:
    words = [WORDS[(number * step) % len(WORDS)] for step in (1, 3, 5)]
    vector = [math.sin(number), math.cos(number * 0.7), math.sin(number * 1.3)]  # no two alike: ties have no order
    document = {"isbn": number, "title": " ".join(words), "year": 1900 + number % 90, "genre": WORDS[number % 3]}
    return {**document, "_vectors": {"topics": None if number % 4 == 0 else vector}}


BOOKS = [book(number) for number in range(1200)]

REQUESTS: list[dict[str, Any]] = [
    {"q": "robot night", "limit": 30},
    {"q": "", "filter": "year > 1950 AND genre = garden", "sort": ["year:desc"], "limit": 50},
    {"q": "the oceen", "facets": ["genre", "year"]},
    {"vector": [0.5, 0.2, 0.9], "hybrid": {"embedder": "topics", "semanticRatio": 1.0}, "limit": 15},
]


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, whoever gives it."""
    hits = [{name: value for name, value in hit.items() if name != "_vectors"} for hit in answer["hits"]]
    kept = ("estimatedTotalHits", "facetDistribution")
    return {"hits": hits, **{name: answer[name] for name in kept if name in answer}}


def plain_answers(url: str, uid: str) -> list[Any]:
    return [told(httpx.post(f"{url}/indexes/{uid}/search", json=request).json()) for request in REQUESTS]


async def cluster_answers(cluster: Cluster, uid: str) -> list[Any]:
    return [told(await search(cluster, uid, request)) for request in REQUESTS]


def fill(server: Server) -> None:
    url = server.url
    finish(url, httpx.post(f"{url}/indexes", json={"uid": "old", "primaryKey": "isbn"}))
    rules = ["words", "typo", "proximity", "attribute", "sort", "exactness", "isbn:asc"]
    finish(url, httpx.patch(f"{url}/indexes/old/settings", json={**SETTINGS, "rankingRules": rules}))
    finish(url, httpx.post(f"{url}/indexes/old/documents", json=BOOKS, timeout=30))


def stored(url: str, uid: str) -> list[Any]:
    body = {"limit": 5000, "retrieveVectors": True}
    found = httpx.post(f"{url}/indexes/{uid}/documents/fetch", json=body, timeout=30).json()["results"]
    return sorted(found, key=lambda document: document["isbn"])


def test_from_one_server_into_the_cluster_and_back(tmp_path: Path, miroir: Miroir) -> None:
    with servers_of(tmp_path, nodes=3, spare=2, shards=4) as (world, servers):
        old, other = servers[3:]
        fill(old)
        copied = miroir("import", "books", "--from", old.url, "--from-index", "old", "--json")
        assert copied.status == 0, copied.err
        assert copied.json["copied"] == len(BOOKS)
        expected = plain_answers(old.url, "old")

        async def compare() -> None:
            async with world.cluster(patience=PATIENCE) as cluster:
                assert await cluster_answers(cluster, "books") == expected

        asyncio.run(compare())
        again = miroir("import", "books", "--from", old.url, "--from-index", "old", "--json")
        assert (again.json["copied"], again.json["unchanged"]) == (0, len(BOOKS))
        back = miroir("export", "books", "--to", other.url, "--to-index", "back", "--json")
        assert back.status == 0, back.err
        assert plain_answers(other.url, "back") == expected
        assert stored(other.url, "back") == stored(old.url, "old")


async def test_a_backup_beside_an_import_is_restored_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "more.ndjson"
    file.write_text("".join(json.dumps({**book(number), "late": True}) + "\n" for number in range(800, 2400)))
    first = tmp_path / "first.ndjson"
    first.write_text("".join(json.dumps(each) + "\n" for each in BOOKS))
    with servers_of(tmp_path, nodes=3, spare=1, shards=4) as (world, servers):
        target = LocalTarget(tmp_path / "place")
        async with world.cluster(patience=PATIENCE) as cluster:
            plan = await plan_index(cluster, UID, primary_key="isbn", settings=SETTINGS)
            await create_index(cluster, plan)
            await import_documents(cluster, UID, [str(first)], options=ImportOptions())
            async with asyncio.TaskGroup() as group:
                options = ImportOptions(batch_bytes=4000)
                group.create_task(import_documents(cluster, UID, [str(file)], options=options))
                await asyncio.sleep(0.3)
                beside = (await create_backup(cluster, target)).manifest
            assert len(BOOKS) <= beside.documents <= 2400
            for part in beside.indexes[0].parts:
                assert part.documents == sum(each.documents for each in part.files)
            quiet = (await create_backup(cluster, target, options=CreateOptions(file_bytes=20_000))).manifest
            assert quiet.documents == 2400
            expected = await cluster_answers(cluster, UID)
            options2 = RestoreOptions(name="again", shards=7, compare=True)
            into = IntoCluster(cluster, quiet, target.url, options2)
            restored = await restore_backup(target, quiet, into, options=options2)
            assert restored.indexes[0].differences == ()
            assert await cluster_answers(cluster, "again") == expected
            url = servers[3].url
            server = PlainServer(url, key=None, mark=f"miroir:{quiet.id}")
            plain = RestoreOptions(compare=True)
            alone = await restore_backup(target, quiet, IntoServer(server), options=plain)
            assert (alone.documents, alone.indexes[0].differences) == (2400, ())
            assert sorted(each["isbn"] for each in stored(url, UID)) == list(range(2400))
            await server.close()


def test_the_key_of_an_embedder_must_be_given_again(tmp_path: Path, miroir: Miroir) -> None:
    with servers_of(tmp_path, nodes=2, spare=1) as (_, servers):
        url = servers[2].url
        finish(url, httpx.post(f"{url}/indexes", json={"uid": "old", "primaryKey": "isbn"}))
        settings = {"embedders": {"rest": {**REST, "apiKey": "sk-secret-0123456789abcdef"}}}
        finish(url, httpx.patch(f"{url}/indexes/old/settings", json=settings))
        refused = miroir("import", "old", "--from", url)
        assert refused.status == 14, refused.err
        assert "does not show `embedders.rest.apiKey` of index `old`" in refused.err
        keys = {"embedders": {"rest": {"apiKey": "sk-other-0123456789abcdef"}}}
        (tmp_path / "keys.json").write_text(json.dumps(keys))
        done = miroir("import", "old", "--from", url, "--settings", "keys.json")
        assert done.status == 0, done.err
        made = miroir("backup", "create", "backups")
        assert made.status == 0, made.err
        assert "without `embedders.rest.apiKey`" in made.err
        lost = miroir("backup", "restore", "backups", "--as", "new")
        assert lost.status == 14 and "`embedders.rest.apiKey`" in lost.err
        assert "sk-other" not in "".join(path.read_text() for path in (tmp_path / "backups").rglob("*.json"))
        assert miroir("backup", "restore", "backups", "--as", "new", "--settings", "keys.json").status == 0
        shown = miroir("index", "show", "new", "--json").json
        assert shown["settings"]["embedders"]["rest"]["apiKey"] == "sk-other-0123456789abcdef"

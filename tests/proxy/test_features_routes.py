"""What a cluster refuses says why, and chores put back what was changed behind its back."""

from __future__ import annotations

import msgspec

from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.model import NodeName, StoredUid
from miroir_cli.proxy.background import CHORES
from miroir_cli.proxy.routes.features import ROUTES
from tests.proxy.conftest import Served

DONE = ("/experimental-features", "/dumps", "/snapshots", "/dynamic-search-rules")


async def test_what_a_cluster_cannot_do_is_refused_with_a_reason(served: Served) -> None:
    refused = [route for route in ROUTES if not route.pattern.startswith(DONE)]
    assert len(refused) > 10
    for route in refused:
        path = route.pattern.replace("{workspace}", "w")
        answer = await served.client.request(route.method, path, json=None if route.method == "GET" else {})
        assert (answer.status_code, answer.json()["code"]) == (501, "miroir_not_supported"), path
        assert "is not supported by miroir: " in answer.json()["message"]


async def test_features_that_are_miroirs_business_are_off_and_stay_off(served: Served) -> None:
    shown = (await served.client.get("/experimental-features")).json()
    assert shown["network"] is False and shown["containsFilter"] is False
    answer = await served.client.patch("/experimental-features", json={"network": True})
    assert (answer.status_code, answer.json()["code"]) == (501, "miroir_not_supported")


async def test_a_chore_puts_settings_back(served: Served) -> None:
    cluster = served.service.cluster
    await create_index(cluster, await plan_index(cluster, "books", primary_key="id", settings={"stopWords": ["the"]}))
    client = cluster.fleet[NodeName("n1")]
    answer = await client.write("PUT", "indexes/books/settings/stop-words", content=msgspec.json.encode(["a"]))
    await client.wait_task(answer.task)  # type: ignore[union-attr]
    (chore,) = [chore for chore in CHORES if chore.name == "settings"]
    await chore.work(served.service)
    assert (await client.settings(StoredUid("books")))["stopWords"] == ["the"]

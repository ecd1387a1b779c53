"""Reads through the proxy: what a session wrote, and equal searches at the same time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from miroir_cli.dev.engine.faults import Fault
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.model import Index
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from miroir_cli.search.session import remember_write, wait_for_session
from tests.backends import both_backends
from tests.faults.world import addition
from tests.proxy.conftest import Served, serving, write_topology

SEARCH = "/indexes/books/search"


async def with_books(served: Served) -> Index:
    cluster = served.service.cluster
    created = await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))
    return created.index


async def put(served: Served, index: Index, *keys: str) -> int:
    """A write that the nodes have in their queues."""
    written = await write(served.service.cluster, index, addition(index, dict.fromkeys(keys, "sea")))
    return written.n


def slow_searches(engines: list[Engine], seconds: float = 0.2) -> list[Fault]:
    return [engine.faults.add("delay", path="/search", seconds=seconds, count=None) for engine in engines]


def asked(faults: list[Fault]) -> int:
    return sum(fault.hits for fault in faults)


async def test_equal_searches_at_the_same_time_are_asked_once(served: Served, engines: list[Engine]) -> None:
    await with_books(served)
    faults = slow_searches(engines)
    alone = await served.client.post(SEARCH, json={"q": "x"})
    once = asked(faults)
    answers = await asyncio.gather(*(served.client.post(SEARCH, json={"q": "y"}) for _ in range(10)))
    assert asked(faults) == 2 * once
    assert {answer.status_code for answer in [alone, *answers]} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["x-request-id"] for answer in answers}) == 10


async def test_other_words_other_callers_and_other_forms_are_asked_for_themselves(
    served: Served, engines: list[Engine]
) -> None:
    await with_books(served)
    faults = slow_searches(engines)
    await served.client.post(SEARCH, json={"q": "x"})
    once = asked(faults)
    await asyncio.gather(
        served.client.post(SEARCH, json={"q": "y"}),
        served.client.post(SEARCH, json={"q": "z"}),
        served.client.post(SEARCH, json={"q": "y"}, headers={"authorization": "Bearer other"}),
        served.client.get(SEARCH, params={"q": "y"}),
    )
    assert asked(faults) == 5 * once


async def test_a_search_after_a_write_is_not_answered_by_one_from_before(served: Served, engines: list[Engine]) -> None:
    index = await with_books(served)
    faults = slow_searches(engines, 0.5)
    await served.client.post(SEARCH, json={"q": "x"})
    once = asked(faults)
    before = asyncio.create_task(served.client.post(SEARCH, json={"q": "sea"}))
    await asyncio.sleep(0.05)
    n = await put(served, index, "k1")
    await settle_until(served.service.cluster, index, n)
    assert not before.done()
    after = await served.client.post(SEARCH, json={"q": "sea"})
    assert [hit["id"] for hit in after.json()["hits"]] == ["k1"]
    await before
    assert asked(faults) == 3 * once


async def test_equal_searches_can_be_kept_apart(tmp_path: Path, engines: list[Engine]) -> None:
    async with serving(write_topology(tmp_path, engines, more="[serve]\ncoalesce = false\n")) as served:
        await with_books(served)
        faults = slow_searches(engines)
        await served.client.post(SEARCH, json={"q": "x"})
        once = asked(faults)
        await asyncio.gather(*(served.client.post(SEARCH, json={"q": "y"}) for _ in range(3)))
        assert asked(faults) == 4 * once


async def test_errors_reach_everybody_who_asked_the_same(served: Served, engines: list[Engine]) -> None:
    await with_books(served)
    slow_searches(engines)
    answers = await asyncio.gather(*(served.client.post(SEARCH, json={"filter": "no = 1"}) for _ in range(4)))
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(400, "invalid_search_filter")}


async def test_a_session_reads_what_it_wrote(served: Served, engines: list[Engine]) -> None:
    index = await with_books(served)
    for engine in engines:
        engine.faults.add("delay_task", seconds=0.4)
    n = await put(served, index, "k1", "k2", "k3")
    await remember_write(served.service.cluster, "me", "books", n)
    others = await served.client.post(SEARCH, json={})
    own = await asyncio.gather(
        *(served.client.post(SEARCH, json={"offset": 0}, headers={"X-Miroir-Session": "me"}) for _ in range(3))
    )
    assert others.json()["hits"] == []
    assert [len(answer.json()["hits"]) for answer in own] == [3, 3, 3]
    fetched = await served.client.get("/indexes/books/documents/k1", headers={"X-Miroir-Session": "me"})
    assert fetched.status_code == 200


@both_backends
async def test_every_read_of_a_session_waits(served: Served, engines: list[Engine]) -> None:
    index = await with_books(served)
    headers = {"X-Miroir-Session": "me"}
    reads = {
        "/indexes/books/documents/fetch": {},
        "/multi-search": {"queries": [{"indexUid": "books"}]},
    }
    for number, (path, body) in enumerate(reads.items(), 1):
        for engine in engines:
            engine.faults.add("delay_task", seconds=0.3)
        await remember_write(served.service.cluster, "me", "books", await put(served, index, f"k{number}"))
        found = (await served.client.post(path, json=body, headers=headers)).json()
        listed = found["results"][0]["hits"] if path == "/multi-search" else found["results"]
        assert len(listed) == number


async def test_a_session_is_told_when_its_writes_take_too_long(served: Served, engines: list[Engine]) -> None:
    index = await with_books(served)
    for engine in engines:
        engine.faults.pause()
    await remember_write(served.service.cluster, "me", "books", await put(served, index, "k1"))
    begin = time.monotonic()
    answer = await served.client.post(SEARCH, json={}, headers={"X-Miroir-Session": "me"})
    assert 4.5 < time.monotonic() - begin < 15
    assert (answer.status_code, answer.json()["code"]) == (503, "miroir_temporary")
    assert answer.headers["retry-after"] == "1"
    for engine in engines:
        engine.faults.resume()
    await wait_for_session(served.service.cluster, "me", "books")
    answer = await served.client.post(SEARCH, json={}, headers={"X-Miroir-Session": "me"})
    assert len(answer.json()["hits"]) == 1


async def test_a_name_that_is_none_is_refused(served: Served) -> None:
    await with_books(served)
    answer = await served.client.post(SEARCH, json={}, headers={"X-Miroir-Session": "a b"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")

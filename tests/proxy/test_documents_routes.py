"""Writes of documents through the proxy, over embedded nodes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.store.tasks import TaskQuery
from miroir_cli.tasks.finishing import keep_finishing
from tests.backends import both_backends, state_url
from tests.faults.world import eventually, world_of
from tests.proxy.conftest import Served, serving

FILMS = "/indexes/films/documents"


async def ended(served: Served, answer: Any) -> dict[str, Any]:
    """The task of an accepted request once it has ended, as `GET /tasks/{uid}` shows it."""
    assert answer.status_code in (200, 202), answer.text
    async with asyncio.timeout(20):
        while True:
            task: dict[str, Any] = (await served.client.get(f"/tasks/{answer.json()['taskUid']}")).json()
            if task["status"] not in ("enqueued", "processing"):
                return task
            await asyncio.sleep(0.02)


@both_backends
async def test_documents_go_in_and_are_found_and_come_out(served: Served) -> None:
    client = served.client
    answer = await client.post(f"{FILMS}?customMetadata=first", json=[{"id": number} for number in range(30)])
    assert answer.status_code == 202
    assert list(answer.json()) == ["taskUid", "indexUid", "status", "type", "enqueuedAt", "customMetadata"]
    task = await ended(served, answer)
    assert task["details"] == {"receivedDocuments": 30, "indexedDocuments": 30}
    assert task["customMetadata"] == "first"
    lines = "\n".join(f'{{"id": {number}, "n": 1}}' for number in range(10))
    await ended(served, await client.put(FILMS, content=lines, headers={"content-type": "application/x-ndjson"}))
    rows = "id,n:number\n10,1\n11,\n"
    await ended(served, await client.post(FILMS, content=rows, headers={"content-type": "text/csv; charset=utf-8"}))
    found = (await client.get(f"{FILMS}?limit=100")).json()
    assert found["total"] == 30
    expected: dict[Any, Any] = dict.fromkeys(range(10), 1) | dict.fromkeys(range(12, 30), 0)
    expected |= {"10": 1, "11": None}
    assert {document["id"]: document.get("n", 0) for document in found["results"]} == expected
    task = await ended(served, await client.delete(f"{FILMS}/3"))
    assert task["details"] == {"providedIds": 1, "deletedDocuments": 1, "originalFilter": None}
    task = await ended(served, await client.post(f"{FILMS}/delete-batch", json=[4, "5", 99]))
    assert task["details"] == {"providedIds": 3, "deletedDocuments": 2, "originalFilter": None}
    task = await ended(served, await client.delete(FILMS))
    assert task["details"] == {"deletedDocuments": 27}
    assert (await client.get(f"{FILMS}?limit=100")).json()["total"] == 0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ('{"id":99,"n":1e999}', "number out of range"),
        ('{"id":99,"n":' + "9" * 5000 + "}", "number out of range"),
        ('{"id":99,"n":[1,{"a":-1E+400}]}', "number out of range"),
        ('{"id":99,"n":' + "[" * 128 + "]" * 128 + "}", "recursion limit exceeded"),
    ],
)
async def test_a_document_that_a_node_would_fail_at_leaves_nothing_of_its_request(
    served: Served, bad: str, words: str
) -> None:
    body = "[" + ",".join(f'{{"id":{number}}}' for number in range(30)) + f",{bad}]"
    answer = await served.client.post(FILMS, content=body, headers={"content-type": "application/json"})
    task = await ended(served, answer)
    assert (task["status"], task["details"]) == ("failed", {"receivedDocuments": 31, "indexedDocuments": 0})
    assert task["error"]["message"] == f"Index `films`: internal: {words}."
    assert (await served.client.get(FILMS)).json()["total"] == 0


async def test_the_largest_and_deepest_that_a_node_takes_is_taken(served: Served) -> None:
    body = '[{"id":1,"n":1.7e308,"m":1' + "0" * 308 + ',"tiny":1e-999,"x":' + "[" * 127 + "]" * 127 + "}]"
    answer = await served.client.post(FILMS, content=body, headers={"content-type": "application/json"})
    assert (await ended(served, answer))["status"] == "succeeded"


async def test_a_key_of_thousands_of_digits_fails_its_task(served: Served) -> None:
    body = '[{"id":' + "9" * 5000 + "}]"
    answer = await served.client.post(FILMS, content=body, headers={"content-type": "application/json"})
    task = await ended(served, answer)
    assert (task["status"], task["error"]["code"]) == ("failed", "invalid_document_id")


async def test_a_write_is_told_to_be_taken_only_once_the_nodes_have_it(served: Served) -> None:
    await ended(served, await served.client.post(FILMS, json={"id": 1}))
    answer = await served.client.post(FILMS, json={"id": 2})
    task = await served.service.cluster.store.task(answer.json()["taskUid"])
    assert task is not None and task.n is not None
    intent = (await served.service.cluster.store.intents("films", [task.n]))[task.n]
    assert all(target.pieces for target in intent.targets)


@both_backends
async def test_a_session_reads_what_it_wrote(served: Served) -> None:
    headers = {"X-Miroir-Session": "mine"}
    for number in range(5):
        answer = await served.client.post(FILMS, json={"id": number}, headers=headers)
        assert answer.status_code == 202
        found = await served.client.post("/indexes/films/search", json={}, headers=headers)
        assert found.json()["estimatedTotalHits"] == number + 1


@both_backends
async def test_the_same_key_is_the_same_task(served: Served) -> None:
    client = served.client
    await ended(served, await client.post(FILMS, json={"id": 0}))
    headers = {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(client.post(FILMS, json={"id": 1}, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    again = await client.post(FILMS, json={"id": 1}, headers=headers)
    assert again.text == answers[0].text
    assert (await served.service.cluster.store.tasks(TaskQuery()))[1] == 2
    other = await client.post(FILMS, json={"id": 2}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "miroir_idempotency_key_reused")
    elsewhere = await client.post("/indexes/books/documents", json={"id": 1}, headers=headers)
    assert elsewhere.status_code == 409
    await ended(served, again)
    await ended(served, await client.delete(f"/tasks?uids={again.json()['taskUid']}"))
    kept = await client.post(FILMS, json={"id": 1}, headers=headers)
    assert kept.json()["taskUid"] == again.json()["taskUid"]
    newest = (await client.get("/tasks?limit=1")).json()["results"][0]
    assert newest["type"] == "taskDeletion"


async def test_a_key_stands_for_work_on_an_index_as_well(served: Served) -> None:
    headers = {"Idempotency-Key": "k1"}
    first, second = [await served.client.post("/indexes", json={"uid": "films"}, headers=headers) for _ in range(2)]
    assert first.text == second.text
    assert (await ended(served, second))["status"] == "succeeded"
    assert (await served.service.cluster.store.tasks(TaskQuery()))[1] == 1


async def test_a_key_whose_request_was_refused_is_free_again(served: Served) -> None:
    headers = {"Idempotency-Key": "k1"}
    refused = await served.client.post(FILMS, json={"id": 1, "_miroir_x": 2}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "miroir_reserved_field")
    answer = await served.client.post(FILMS, json={"id": 1}, headers=headers)
    assert (await ended(served, answer))["status"] == "succeeded"


async def test_a_key_stands_for_a_task_that_failed_as_well(served: Served) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await served.client.post(FILMS, json={"x": 1}, headers=headers)
    assert (await ended(served, first))["status"] == "failed"
    second = await served.client.post(FILMS, json={"x": 1}, headers=headers)
    assert second.text == first.text


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_thousand_writes_in_flight_lose_nothing_and_keep_their_order(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, shards=2, replicas=1) as world:
        async with serving(world.path) as served:
            await _a_thousand_writes(served)


async def _a_thousand_writes(served: Served) -> None:
    client = served.client
    await ended(served, await client.post(FILMS, json={"id": 0}))
    finisher = asyncio.create_task(keep_finishing(served.service.cluster))
    order: list[int] = []

    async def write(number: int) -> int:
        answer = await client.post(FILMS, json=[{"id": f"k{number}", "n": number}, {"id": "all", "n": number}])
        assert answer.status_code == 202, answer.text
        order.append(answer.json()["taskUid"])
        return int(answer.json()["taskUid"])

    began = time.monotonic()
    uids = await asyncio.gather(*(write(number) for number in range(1000)))
    assert sorted(set(uids)) == sorted(order), f"{time.monotonic() - began:.1f} s"
    if state_url() is None:  # requests that several connections to Redis record come in any order
        assert uids == sorted(uids) == order

    async def all_over() -> bool:
        return not (await client.get("/tasks?statuses=enqueued,processing&limit=1")).json()["total"]

    await eventually(all_over, timeout=40)
    finisher.cancel()
    assert (await client.get("/tasks?statuses=succeeded")).json()["total"] == 1001
    assert (await client.get(f"{FILMS}?limit=1")).json()["total"] == 1002
    assert (await client.get(f"{FILMS}/all")).json()["n"] == uids.index(max(uids))

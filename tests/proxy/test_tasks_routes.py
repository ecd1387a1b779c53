"""Tasks and batches through the proxy: pages, cancelling, deleting, and who sees what."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from miroir_cli.dev.engine.testing import Engine
from miroir_cli.proxy.router import Call
from miroir_cli.proxy.routes.tasks import list_tasks, one_task
from miroir_cli.tasks.registry import enqueue, finish_all, perform
from tests.backends import both_backends
from tests.proxy.conftest import Served
from tests.proxy.test_documents_routes import FILMS, ended


@both_backends
async def test_pages_follow_each_other(served: Served) -> None:
    for number in range(5):
        await ended(served, await served.client.post(FILMS, json={"id": number}))
    uids: list[int] = []
    start: int | None = None
    while True:
        page = (await served.client.get("/tasks?limit=2" + (f"&from={start}" if start is not None else ""))).json()
        assert page["total"] == 5 and page["from"] == page["results"][0]["uid"]
        uids += [task["uid"] for task in page["results"]]
        start = page["next"]
        if start is None:
            break
    assert uids == [4, 3, 2, 1, 0]


async def test_each_task_that_has_begun_is_a_batch(served: Served) -> None:
    task = await ended(served, await served.client.post(FILMS, json={"id": 1}))
    batch = (await served.client.get(f"/batches/{task['batchUid']}")).json()
    assert batch["stats"]["types"] == {"documentAdditionOrUpdate": 1}
    assert (await served.client.get("/batches")).json()["results"] == [batch]
    cluster = served.service.cluster
    waiting = await enqueue(cluster, type="settingsUpdate", uid="films", details={})
    assert (await served.client.get(f"/batches/{waiting.uid}")).status_code == 404


async def test_work_that_waits_is_canceled_and_writes_are_not(served: Served) -> None:
    client, cluster = served.client, served.service.cluster
    await ended(served, await client.post(FILMS, json={"id": 1}))
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    first = await enqueue(cluster, type="settingsUpdate", uid="films", details={})
    assert (await perform(cluster, first, work, wait=0.05)).status == "processing"
    second = await enqueue(cluster, type="settingsUpdate", uid="films", details={})
    await perform(cluster, second, work, wait=0)
    writing = asyncio.create_task(client.post(FILMS, json={"id": 2}))
    answer = await client.post("/tasks/cancel?statuses=enqueued,processing")
    canceling = await ended(served, answer)
    assert canceling["details"] == {
        "matchedTasks": 2,
        "canceledTasks": 1,
        "originalFilter": "?statuses=enqueued,processing",
    }
    canceled = (await client.get(f"/tasks/{second.uid}")).json()
    assert (canceled["status"], canceled["canceledBy"]) == ("canceled", canceling["uid"])
    assert not writing.done()
    gate.set()
    await finish_all(cluster)
    assert (await ended(served, await writing))["status"] == "succeeded"
    gone = await ended(served, await client.delete(f"/tasks?canceledBy={canceling['uid']}"))
    assert gone["details"]["deletedTasks"] == 1
    assert (await client.get(f"/tasks/{second.uid}")).json()["code"] == "task_not_found"


@both_backends
async def test_callers_see_the_tasks_of_their_indexes(served: Served) -> None:
    for uid in ("films", "books"):
        await ended(served, await served.client.post(f"/indexes/{uid}/documents", json={"id": 1}))
    caller = SimpleNamespace(sees_all=False, sees=lambda uid: uid == "books")
    call = Call(
        service=served.service,
        method="GET",
        target="/tasks",
        path={"id": "1"},
        query_string="",
        headers={},
        body=b"",
        caller=cast("Any", caller),
    )
    page = cast("dict[str, Any]", (await list_tasks(call)).body)
    assert [task["indexUid"] for task in page["results"]] == ["books"]
    assert page["total"] == 1
    assert cast("dict[str, Any]", (await one_task(call)).body)["uid"] == 1
    try:
        await one_task(replace(call, path={"id": "0"}))
    except Exception as error:  # the same as for one that is not there
        assert str(error) == "Task `0` not found."
    else:
        raise AssertionError("a task of another index was shown")


async def test_a_task_that_is_deleted_at_once_after_it_was_made_is_deleted_once_it_has_ended(
    served: Served, engines: list[Engine]
) -> None:
    client = served.client
    await ended(served, await client.post("/indexes/films/documents", json={"id": 1}))
    for engine in engines:
        engine.faults.pause()
    made = (await client.post("/indexes/films/documents", json={"id": 2})).json()["taskUid"]
    deleting = await client.delete(f"/tasks?uids={made}")
    assert deleting.status_code == 200 and deleting.json()["status"] == "enqueued"
    await asyncio.sleep(0.1)
    assert (await client.get(f"/tasks/{made}")).json()["status"] in ("enqueued", "processing")
    for engine in engines:
        engine.faults.resume()
    gone = await ended(served, deleting)
    assert (gone["details"]["matchedTasks"], gone["details"]["deletedTasks"]) == (1, 1)
    assert (await client.get(f"/tasks/{made}")).json()["code"] == "task_not_found"
    assert (await client.get("/indexes/films/documents/2")).json() == {"id": 2}

"""Fault switches: each does what it says, as often as it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from miroir_cli.dev.engine.testing import Engine, running_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running_engine(tmp_path / "data") as found:
        yield found


@pytest.fixture
def client(engine: Engine) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=engine.url, timeout=10) as found:
        yield found


def add(client: httpx.Client, *documents: dict[str, Any], **query: str) -> httpx.Response:
    return client.post("/indexes/i/documents", json=list(documents), params={"primaryKey": "id", **query})


def settled(client: httpx.Client, uid: int) -> dict[str, Any]:
    for _ in range(2000):
        task: dict[str, Any] = client.get(f"/tasks/{uid}").json()
        if task["status"] in ("succeeded", "failed", "canceled"):
            return task
        time.sleep(0.002)
    raise AssertionError(uid)


def count(client: httpx.Client) -> int:
    answer: int = client.get("/indexes/i/documents").json()["total"]
    return answer


def test_a_delay_holds_the_answer_back_and_is_spent(engine: Engine, client: httpx.Client) -> None:
    fault = engine.faults.add("delay", seconds=1.0, path="^/health$")
    begin = time.monotonic()
    client.get("/version")
    assert (time.monotonic() - begin < 0.9, fault.hits) == (True, 0)
    client.get("/health")
    assert time.monotonic() - begin >= 1.0
    begin = time.monotonic()
    client.get("/health")
    assert (time.monotonic() - begin < 0.9, fault.hits) == (True, 1)


@pytest.mark.parametrize("status", [408, 413, 429, 500, 503])
def test_a_refusal_answers_without_executing(engine: Engine, client: httpx.Client, status: int) -> None:
    engine.faults.add("refuse", status=status, method="POST", count=2)
    for _ in range(2):
        response = add(client, {"id": 1})
        assert (response.status_code, set(response.json())) == (status, {"message", "code", "type", "link"})
    assert client.get("/tasks").json()["total"] == 0
    assert add(client, {"id": 1}).status_code == 202


def test_a_bare_refusal_has_no_meilisearch_body(engine: Engine, client: httpx.Client) -> None:
    engine.faults.add("refuse", status=502, bare=True)
    assert client.get("/stats").text == "refused"


def test_a_dropped_request_is_executed_or_not(engine: Engine, client: httpx.Client) -> None:
    engine.faults.add("drop_before", path="documents")
    with pytest.raises(httpx.TransportError):
        add(client, {"id": 1})
    assert client.get("/tasks").json()["total"] == 0
    engine.faults.add("drop_after", path="documents")
    with pytest.raises(httpx.TransportError):
        add(client, {"id": 1})
    settled(client, 0)
    assert count(client) == 1


def test_a_late_request_arrives_after_the_client_gave_up(engine: Engine, client: httpx.Client) -> None:
    engine.faults.add("late", path="documents", seconds=0.2)
    with pytest.raises(httpx.TransportError):
        add(client, {"id": 1})
    assert client.get("/tasks").json()["total"] == 0
    for _ in range(200):
        if client.get("/tasks").json()["total"]:
            break
        time.sleep(0.01)
    assert settled(client, 0)["status"] == "succeeded"


def test_the_next_task_fails_and_the_one_after_does_not(engine: Engine, client: httpx.Client) -> None:
    engine.faults.add("fail_task", task_type="documentAdditionOrUpdate")
    uids = [add(client, {"id": number}).json()["taskUid"] for number in (1, 2)]
    first, second = (settled(client, uid) for uid in uids)
    assert (first["status"], first["error"]["code"], second["status"]) == ("failed", "internal", "succeeded")
    assert count(client) == 1


def test_a_truncated_payload_succeeds_with_nothing(engine: Engine, client: httpx.Client) -> None:
    settled(client, add(client, {"id": 1}).json()["taskUid"])
    engine.faults.add("truncate")
    task = settled(client, add(client, {"id": 2}, customMetadata="m").json()["taskUid"])
    assert (task["status"], task["customMetadata"]) == ("succeeded", "m")
    assert task["details"] == {"receivedDocuments": 1, "indexedDocuments": 0}
    assert count(client) == 1


def test_a_paused_queue_keeps_its_tasks(engine: Engine, client: httpx.Client) -> None:
    engine.faults.pause()
    uid = add(client, {"id": 1}).json()["taskUid"]
    other = add(client, {"id": 2}).json()["taskUid"]
    time.sleep(0.1)
    assert client.get(f"/tasks/{uid}").json()["status"] == "enqueued"
    engine.node.cancel(other)
    engine.faults.resume()
    assert (settled(client, uid)["status"], settled(client, other)["status"]) == ("succeeded", "canceled")
    assert count(client) == 1


def test_a_delayed_task_waits(engine: Engine, client: httpx.Client) -> None:
    engine.faults.add("delay_task", seconds=0.2)
    begin = time.monotonic()
    settled(client, add(client, {"id": 1}).json()["taskUid"])
    assert time.monotonic() - begin >= 0.2


def test_a_lost_disk_starts_again_at_task_zero(engine: Engine, client: httpx.Client) -> None:
    settled(client, add(client, {"id": 1}).json()["taskUid"])
    engine.node.wipe()
    assert client.get("/indexes").json()["total"] == 0
    assert add(client, {"id": 1}).json()["taskUid"] == 0


def test_faults_are_switched_over_http(client: httpx.Client) -> None:
    armed = client.post("/_faults", json={"kind": "refuse", "status": 429, "path": "stats"})
    assert armed.json() == {"armed": 1, "paused": False}
    assert client.get("/stats").status_code == 429
    assert client.post("/_faults", json={"do": "pause"}).json()["paused"] is True
    assert client.post("/_faults", json={"do": "clear"}).json() == {"armed": 0, "paused": False}
    assert client.post("/_faults", json={"kind": "nonsense"}).status_code == 400

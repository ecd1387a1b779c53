"""The admin API: who may use it, what it tells, what it starts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openapi_spec_validator import validate

from miroir_cli import metrics
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.proxy.journal import kept
from miroir_cli.proxy.router import Call, Reply
from miroir_cli.store.journal import JournalQuery
from tests.proxy.conftest import Served, serving, write_topology

KEY = {"x-admin-key": "a-key-of-its-own"}
ADMIN = '[serve.admin]\nkey_env = "TEST_ADMIN_KEY"\n'


@pytest.fixture
def path(tmp_path: Path, engines: list[Engine], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A topology file that names an admin key."""
    monkeypatch.setenv("TEST_ADMIN_KEY", KEY["x-admin-key"])
    return write_topology(tmp_path, engines, more=ADMIN)


async def with_books(served: Served) -> None:
    cluster = served.service.cluster
    await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))


async def until_ended(served: Served, number: int) -> dict[str, Any]:
    for _ in range(200):
        run: dict[str, Any] = (await served.client.get(f"/_miroir/runs/{number}", headers=KEY)).json()
        if run["finished_at"] is not None:
            return run
        await asyncio.sleep(0.05)
    raise AssertionError(run)


async def test_without_a_key_in_the_file_it_is_closed(served: Served) -> None:
    answer = await served.client.get("/_miroir/topology", headers=KEY)
    assert answer.status_code == 403
    assert "[serve.admin]" in answer.json()["message"]
    assert (await served.client.get("/_miroir/ready")).json() == {"status": "ready"}
    assert (await served.client.get("/_miroir/live")).json() == {"status": "live"}


@pytest.mark.parametrize("headers", [{}, {"x-admin-key": "another"}, {"authorization": "Bearer another"}])
async def test_a_wrong_key_opens_nothing(path: Path, headers: dict[str, str]) -> None:
    async with serving(path) as served:
        answer = await served.client.get("/_miroir/topology", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "miroir_invalid_auth")
        assert KEY["x-admin-key"] not in repr(served.service)


async def test_it_tells_what_the_command_line_tells(path: Path) -> None:
    async with serving(path) as served:
        await with_books(served)
        topology = (await served.client.get("/_miroir/topology", headers=KEY)).json()
        assert topology["cluster"]["name"] == "test"
        assert [node["state"] for node in topology["nodes"]] == ["up", "up", "up"]
        shards = (await served.client.get("/_miroir/shards", headers=KEY)).json()
        assert len(shards["indexes"][0]["placement"]) == 12
        plan = await served.client.get("/_miroir/plan", headers={"authorization": f"Bearer {KEY['x-admin-key']}"})
        assert plan.json()["moves"] == []


async def test_a_run_is_started_seen_and_named_in_the_journal(path: Path) -> None:
    async with serving(path) as served:
        await with_books(served)
        nothing = await served.client.post("/_miroir/runs", headers=KEY, json={"kind": "rebalance"})
        assert nothing.json() == {"run": None, "state": "nothing to do"}
        started = await served.client.post("/_miroir/verify", headers=KEY)
        assert started.status_code in (200, 202)
        number = (
            started.json()["run"] or (await served.client.get("/_miroir/runs", headers=KEY)).json()["runs"][0]["run"]
        )
        run = await until_ended(served, number)
        assert (run["kind"], run["state"], run["differences"]) == ("verify", "done", [])


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "message"),
    [
        ("POST", "/_miroir/runs", {"kind": "reindex"}, 400, "`kind`"),
        ("POST", "/_miroir/runs", {"rate": "fast"}, 400, "`rate`"),
        ("POST", "/_miroir/runs", {"speed": 3}, 400, "`speed`"),
        ("POST", "/_miroir/runs/7/pause", None, 404, "run 7"),
        ("GET", "/_miroir/runs/seven", None, 404, "`seven`"),
        ("GET", "/_miroir/runs/99", None, 404, "99"),
    ],
)
async def test_mistakes_are_named(
    path: Path, method: str, target: str, body: dict[str, Any] | None, status: int, message: str
) -> None:
    async with serving(path) as served:
        answer = await served.client.request(method, target, headers=KEY, json=body)
        assert answer.status_code == status
        assert message in answer.json()["message"]


async def test_the_api_describes_itself(path: Path) -> None:
    async with serving(path) as served:
        described = (await served.client.get("/_miroir/openapi.json", headers=KEY)).json()
        validate(described)
        assert "/_miroir/runs/{run}/cancel" in described["paths"]
        assert described["paths"]["/_miroir/ready"]["get"]["security"] == []


async def test_what_happens_is_counted(path: Path) -> None:
    metrics.enable()
    async with serving(path) as served:
        await with_books(served)
        for _ in range(3):
            await served.client.post("/indexes/books/search", json={})
        text = (await served.client.get("/_miroir/metrics", headers=KEY)).text
    counted = [
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("miroir_requests_total{") and 'route="/indexes/{uid}/search"' in line
    ]
    assert sum(counted) >= 3
    assert "python_info" not in text
    assert all(line.startswith(("miroir_", "# ")) for line in text.splitlines())


async def test_who_starts_runs_is_in_the_journal(path: Path) -> None:
    async with serving(path) as served:
        await with_books(served)
        assert (await served.client.post("/_miroir/runs", json={}, headers=KEY)).status_code == 200
        assert (await served.client.post("/_miroir/runs/7/pause?x=1", headers=KEY)).status_code == 404
        second, first = await served.service.cluster.store.commands(JournalQuery())
    assert (first.words, first.line, first.user) == ("serve: run", "POST /_miroir/runs", "admin key")
    assert (first.status, first.code) == (0, None) and first.finished_at is not None
    assert (second.words, second.line) == ("serve: pause", "POST /_miroir/runs/7/pause")
    assert (second.status, second.code, second.result) == (4, "miroir_not_found", "run 7 is not under way")


async def test_a_request_that_is_given_up_is_no_success_in_the_journal(path: Path) -> None:
    begun = asyncio.Event()

    async def endless(call: Call) -> Reply:
        begun.set()
        await asyncio.Event().wait()
        return Reply()

    async with serving(path) as served:
        call = Call(
            service=served.service,
            method="POST",
            target="/_miroir/runs",
            path={},
            query_string="",
            headers={},
            body=b"",
            caller=cast("Any", SimpleNamespace(key=None)),
        )
        request = asyncio.ensure_future(kept("serve: run", endless)(call))
        await begun.wait()
        request.cancel()
        await asyncio.wait([request])
        (record,) = await served.service.cluster.store.commands(JournalQuery())
    assert request.cancelled() and record.finished_at is not None
    assert record.status == 130

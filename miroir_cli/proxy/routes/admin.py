"""The admin API under `/_miroir/`: the state of the cluster, its runs, its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from miroir_cli import metrics
from miroir_cli.errors import ApiError, NotFound
from miroir_cli.indexes.catalog import show_index
from miroir_cli.indexes.status import status
from miroir_cli.migration.history import list_runs, open_runs, show_run
from miroir_cli.migration.rebalance import Change, cancel, control, describe_run, make_plan, rebalance
from miroir_cli.migration.repair import repair
from miroir_cli.migration.run import RunOptions
from miroir_cli.migration.verify import verify
from miroir_cli.proxy.journal import kept
from miroir_cli.proxy.openapi import document
from miroir_cli.proxy.router import ADMIN, Call, Reply, Route
from miroir_cli.proxy.routes import aliases
from miroir_cli.store.journal import RunId, RunKind, Wanted

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
STARTING = 5.0
"""Seconds for a run to be in the journal before it is answered without its number."""


async def ready(call: Call) -> Reply:
    """Whether this process can answer: the state store can be read."""
    await call.service.cluster.store.epoch()
    return Reply(body={"status": "ready"})


async def live(_: Call) -> Reply:
    """Whether this process answers at all, whatever the state store and the nodes do."""
    return Reply(body={"status": "live"})


async def topology(call: Call) -> Reply:
    """The cluster, its nodes, its indexes and what is under way."""
    found = await status(call.service.cluster)
    return Reply(body={**found, "runs": await open_runs(call.service.cluster)})


async def shards(call: Call) -> Reply:
    """The replicas of every shard of each index, with their states."""
    cluster = call.service.cluster
    uids = [index.uid for index in await cluster.store.indexes()]
    found = [await show_index(cluster, uid) for uid in uids]
    shown = ("uid", "primary_key", "shards", "replicas", "in_sync", "stale", "placement")
    return Reply(body={"indexes": [{name: index[name] for name in shown} for index in found]})


async def plan(call: Call) -> Reply:
    """What a rebalance would move at this moment."""
    found, _ = await make_plan(call.service.cluster, Change(title="rebalance"))
    return Reply(body=found.json())


async def runs(call: Call) -> Reply:
    """The newest runs, newest first."""
    return Reply(body={"runs": await list_runs(call.service.cluster, limit=50)})


async def run(call: Call) -> Reply:
    """One run with its steps and its journal."""
    return Reply(body=await show_run(call.service.cluster, _number(call)))


async def start(call: Call) -> Reply:
    """Begin a run, or go on with the one that was interrupted: `rebalance` or `repair`."""
    asked = call.json()
    if not isinstance(asked, dict) or asked.get("kind", "rebalance") not in ("rebalance", "repair"):
        raise ApiError("bad_request", "`kind` is neither `rebalance` nor `repair`")
    if unknown := set(asked) - {"kind", "parallel", "rate"}:
        raise ApiError("bad_request", f"`{min(unknown)}` is not a key that miroir knows")
    for name in ("parallel", "rate"):
        value = asked.get(name)
        if value is not None and (type(value) is not int or value < 1):
            raise ApiError("bad_request", f"`{name}` is not a whole number above 0")
    options = RunOptions(parallel=asked.get("parallel"), rate=asked.get("rate"))
    cluster = call.service.cluster
    if asked.get("kind") == "repair":
        return await _begun(call, RunKind.REPAIR, lambda: repair(cluster, options=options))
    return await _begun(call, RunKind.REBALANCE, lambda: rebalance(cluster, Change(title="rebalance"), options=options))


async def compare(call: Call) -> Reply:
    """Begin to compare all in-sync replicas with one another."""
    cluster = call.service.cluster
    return await _begun(call, RunKind.VERIFY, lambda: verify(cluster))


async def _begun(call: Call, kind: RunKind, begin: Callable[[], Awaitable[Any]]) -> Reply:
    """Start it beside the requests; its number once it is in the journal. Raises what it raises before that."""
    store = call.service.cluster.store
    before = {run.id for run in await store.runs(limit=50) if run.finished_at is not None}
    task = call.service.spawn(begin(), name=kind.value)
    deadline = asyncio.get_running_loop().time() + STARTING
    while asyncio.get_running_loop().time() < deadline:
        if task.done():
            await task
        for found in await store.runs(limit=10):
            if found.kind is kind and found.id not in before:
                return Reply(status=202, body={"run": found.id, "state": found.state.value})
        if task.done():
            return Reply(status=200, body={"run": None, "state": "nothing to do"})
        await asyncio.sleep(0.02)
    return Reply(status=202, body={"run": None, "state": "starting"})


async def pause(call: Call) -> Reply:
    """Hold the run that is under way."""
    return await _controlled(call, lambda cluster: control(cluster, Wanted.PAUSE))


async def resume(call: Call) -> Reply:
    """Let a paused run go on."""
    return await _controlled(call, lambda cluster: control(cluster, Wanted.GO))


async def give_up(call: Call) -> Reply:
    """Cancel the run: what has moved stays, what is half copied is deleted again."""
    return await _controlled(call, cancel)


async def _controlled(call: Call, act: Callable[[Any], Awaitable[Any]]) -> Reply:
    cluster = call.service.cluster
    number = _number(call)
    current = await cluster.store.unfinished_run()
    if current is None or current.id != number:
        raise NotFound(f"run {number} is not under way", hint="see `GET /_miroir/runs`")
    await act(cluster)
    found = await describe_run(cluster, number)
    return Reply(body={name: value for name, value in found.items() if name != "steps"})


def _number(call: Call) -> RunId:
    written = call.path["run"]
    if not written.isdigit() or len(written) > 18:
        raise NotFound(f"there is no run `{written}`", hint="see `GET /_miroir/runs`")
    return RunId(int(written))


async def values(_: Call) -> Reply:
    """All metrics in Prometheus's text format."""
    return Reply(body=await asyncio.to_thread(metrics.render), content_type=PROMETHEUS)


async def description(_: Call) -> Reply:
    """This document."""
    return Reply(body=document(ROUTES, admin=ADMIN))


ROUTES = (
    *aliases.ROUTES,
    Route("GET", "/_miroir/ready", None, ready),
    Route("GET", "/_miroir/live", None, live),
    Route("GET", "/_miroir/topology", ADMIN, topology),
    Route("GET", "/_miroir/shards", ADMIN, shards),
    Route("GET", "/_miroir/plan", ADMIN, plan),
    Route("GET", "/_miroir/runs", ADMIN, runs),
    Route("POST", "/_miroir/runs", ADMIN, kept("serve: run", start)),
    Route("GET", "/_miroir/runs/{run}", ADMIN, run),
    Route("POST", "/_miroir/runs/{run}/pause", ADMIN, kept("serve: pause", pause)),
    Route("POST", "/_miroir/runs/{run}/resume", ADMIN, kept("serve: resume", resume)),
    Route("POST", "/_miroir/runs/{run}/cancel", ADMIN, kept("serve: cancel", give_up)),
    Route("POST", "/_miroir/verify", ADMIN, compare),
    Route("GET", "/_miroir/metrics", ADMIN, values),
    Route("GET", "/_miroir/openapi.json", ADMIN, description),
    Route("GET", "/metrics", "metrics.get", values),
)

"""What there is to tell: runs that have not ended, the newest ones, one with all that happened, how fast they were;
and the nodes with what the topology file says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miroir_cli.indexes.status import status
from miroir_cli.migration.rebalance import describe_run
from miroir_cli.migration.verify import Found
from miroir_cli.store.journal import RunId, RunKind, RunRecord, RunState
from miroir_cli.store.locks import is_alive

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

RECENT = 10
"""Runs that say how fast the next one will be."""


async def open_runs(cluster: Cluster) -> list[dict[str, Any]]:
    """The runs that have not ended, without their steps."""
    found = [await cluster.store.unfinished_run(kind) for kind in (RunKind.REBALANCE, RunKind.REPAIR)]
    described = [await describe_run(cluster, run.id) for run in found if run is not None]
    return [{key: value for key, value in run.items() if key != "steps"} for run in described]


async def list_runs(cluster: Cluster, *, limit: int) -> list[dict[str, Any]]:
    """The newest runs, newest first."""
    return [
        {
            "run": run.id,
            "kind": run.kind.value,
            "title": run.title,
            "state": run.state.value,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "moves": run.summary.get("moves"),
            "documents_moved": run.summary.get("documents_moved"),
            "seconds": run.summary.get("seconds"),
            "pid": run.pid,
            "command": run.command,
            "alive": run.state is RunState.RUNNING and is_alive(run.pid),
            "wanted": run.wanted.value,
            "summary": dict(run.summary),
        }
        for run in await cluster.store.runs(limit=limit)
    ]


async def show_run(cluster: Cluster, id: RunId) -> dict[str, Any]:
    """A run with its steps, and every line of its journal; of a verification with what differs instead of what each
    step has kept. Raises `NotFound`."""
    run = await describe_run(cluster, id)
    if run["kind"] == RunKind.VERIFY:
        kept = [Found.of(step) for step in await cluster.store.steps(id)]
        run["steps"] = [{**step, "error": found.skipped} for step, found in zip(run["steps"], kept, strict=True)]
        run["differences"] = [difference.json() for found in kept for difference in found.differences]
    events = [
        {
            "at": event.at,
            "step": event.step,
            "state": event.state,
            "detail": event.detail,
            "pid": event.pid,
            "command": event.command,
        }
        for event in await cluster.store.events(id)
    ]
    return {**run, "events": events}


async def list_nodes(cluster: Cluster) -> list[dict[str, Any]]:
    """The nodes as `status` shows them with their weight, drained ones in the state `drained`; and those that the
    topology file does not name but that still have replicas, in the state `gone`."""
    found: list[dict[str, Any]] = []
    for node in (await status(cluster))["nodes"]:
        listed = cluster.topology.node(node["name"])
        state = "drained" if listed.drained and node["state"] == "up" else node["state"]
        found.append({**node, "state": state, "weight": listed.weight, "drained": listed.drained})
    maps = [await cluster.reload(index.uid) for index in await cluster.store.indexes()]
    held = Counter(replica.node for map in maps for replica in map.replicas if replica.node not in cluster.fleet)
    members = await cluster.store.members()
    for name, shards in sorted(held.items()):
        blank = dict.fromkeys(found[0])
        url = members[name].url if name in members else None
        found.append({**blank, "name": name, "url": url, "state": "gone", "shards": shards, "drained": False})
    return found


async def expected_seconds(cluster: Cluster, documents: int | None, *, rate: int | None = None) -> float | None:
    """How long a run with so many documents will take, as the last ones went; None when that is not known yet."""
    return expected(documents, await cluster.store.runs(limit=RECENT), rate=rate)


def expected(documents: int | None, runs: Iterable[RunRecord], *, rate: int | None) -> float | None:
    """The same, from the runs: their documents and seconds together, and not faster than `rate`."""
    done = [run.summary for run in runs if run.state is RunState.DONE and run.summary.get("documents_moved")]
    moved = sum(int(summary["documents_moved"]) for summary in done)
    seconds = sum(float(summary.get("seconds", 0.0)) for summary in done)
    if documents is None or not moved or not seconds:
        return None
    speed = moved / seconds
    return documents / (min(speed, rate) if rate else speed)

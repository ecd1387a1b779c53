"""What there is to tell: runs that have not ended, the newest ones, one with all that happened, how fast they were;
and the nodes with what the topology file says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import NotFound, UsageError
from miroir_cli.indexes.status import status
from miroir_cli.migration.rebalance import describe_run
from miroir_cli.migration.verify import Found
from miroir_cli.store.journal import (
    KEPT_RUNS,
    CommandRecord,
    JournalQuery,
    Process,
    RunId,
    RunKind,
    RunRecord,
    RunState,
)

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

COMMAND_PREFIX = "c"
"""How the number of a command is told from that of a run."""

STOPPED = 128
"""Exit statuses from here on are those of a signal, or of a question answered with no."""

RECENT = 10
"""Runs that say how fast the next one will be."""


async def open_runs(cluster: Cluster) -> list[dict[str, Any]]:
    """The runs that have not ended, without their steps."""
    found = [await cluster.store.unfinished_run(kind) for kind in (RunKind.REBALANCE, RunKind.REPAIR)]
    described = [await describe_run(cluster, run.id) for run in found if run is not None]
    return [{key: value for key, value in run.items() if key != "steps"} for run in described]


async def list_runs(cluster: Cluster, *, limit: int) -> list[dict[str, Any]]:
    """The newest runs, newest first."""
    return [await _run(cluster, run) for run in await cluster.store.runs(limit=limit)]


async def _run(cluster: Cluster, run: RunRecord) -> dict[str, Any]:
    return {
        "run": run.id,
        "kind": run.kind.value,
        "title": run.title,
        "state": run.state.value,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "moves": run.summary.get("moves"),
        "documents_moved": run.summary.get("documents_moved"),
        "seconds": run.summary.get("seconds"),
        "host": run.process.host,
        "pid": run.process.pid,
        "command": run.command,
        "alive": run.state is RunState.RUNNING and await cluster.locks.lives(run.process),
        "wanted": run.wanted.value,
        "summary": dict(run.summary),
    }


async def list_journal(cluster: Cluster, query: JournalQuery) -> dict[str, list[dict[str, Any]]]:
    """The newest commands and runs that match, both newest first, together no more than the limit.

    Nobody signs a run: with `who` those count that a matching command had to do with.
    """
    commands = [await describe_command(cluster, record) for record in await cluster.store.commands(query)]
    involved = {run for command in commands for run in command["runs"]} if query.who is not None else None
    runs = [
        run
        for run in await list_runs(cluster, limit=KEPT_RUNS)
        if _wanted(run, query) and (involved is None or run["run"] in involved)
    ]
    newest = sorted((each["started_at"] for each in (*commands, *runs)), reverse=True)[: query.limit]
    oldest = newest[-1] if newest else 0
    return {
        "runs": [run for run in runs if run["started_at"] >= oldest][: query.limit],
        "commands": [command for command in commands if command["started_at"] >= oldest],
    }


def _wanted(run: dict[str, Any], query: JournalQuery) -> bool:
    interrupted = run["state"] == RunState.RUNNING and not run["alive"]
    if query.failed and run["state"] not in (RunState.FAILED, RunState.CANCELLED) and not interrupted:
        return False
    if query.since is not None and run["started_at"] < query.since:
        return False
    word = (query.word or "").lower()
    return any(word in str(run[key]).lower() for key in ("kind", "title", "command"))


async def describe_command(cluster: Cluster, record: CommandRecord) -> dict[str, Any]:
    """A command as `journal list` and `journal show` print it. `unfinished`: its process was killed, or the power
    failed."""
    process = Process(host=record.host, pid=record.pid, born=record.born or "")
    alive = record.finished_at is None and await cluster.locks.lives(process)
    if record.finished_at is None:
        state = "running" if alive else "unfinished"
    else:
        state = "done" if not record.status else "stopped" if record.status >= STOPPED else "failed"
    return {
        "id": f"{COMMAND_PREFIX}{record.id}",
        "kind": "command",
        "words": record.words,
        "line": record.line,
        "state": state,
        "user": record.user,
        "host": record.host,
        "behind": record.behind,
        "pid": record.pid,
        "cluster": record.cluster,
        "folder": record.folder,
        "topology": record.topology,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "seconds": None if record.finished_at is None else (record.finished_at - record.started_at) / 1000,
        "exit_status": record.status,
        "code": record.code,
        "result": record.result,
        "runs": list(record.runs),
    }


async def show_entry(cluster: Cluster, name: str) -> dict[str, Any]:
    """What `journal list` calls `c12`, a command, or `12`, a run. Raises `NotFound`, and `UsageError` for the name of
    neither."""
    kind, number = (name[:1], name[1:]) if name[:1] == COMMAND_PREFIX else ("", name)
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise UsageError(
            f"`{name}` is neither a run, such as `12`, nor a command, such as `{COMMAND_PREFIX}12`",
            hint="run `miroir journal list`",
        )
    command = await cluster.store.command(int(number))
    if kind:
        if command is None:
            raise NotFound(f"command {name} not found", hint="run `miroir journal list`")
        return await describe_command(cluster, command)
    if command is not None and await cluster.store.run(RunId(int(number))) is None:
        raise NotFound(f"run {number} not found", hint=f"the command of that number is `{COMMAND_PREFIX}{number}`")
    return await show_run(cluster, RunId(int(number)))


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
            "host": event.process.host,
            "pid": event.process.pid,
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
    maps = await cluster.maps()
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

"""How long it takes until a joining node has its shards, against indexing the moved documents alone.

    python -m benchmarks.moving --meilisearch BINARY [--documents 100000] [--replicas 1,2] [--memory 200MiB]

For every number of replicas three fresh nodes get the documents with `miroir import`; then `miroir node add` moves a
fourth node's share to it while searches run; then a fresh node indexes the moved documents alone, posted in tasks of
20,000, all enqueued ahead; then `miroir verify`; and last `miroir node drain` moves everything back while 100
documents a second are written. `--memory` is the nodes' `--max-indexing-memory`. Prints one JSON document: `ratio` is
seconds of the move over those of indexing, once until the last shard has switched and once until what was replaced is
deleted; `processor_ratio` compares the processor time of the two nodes that index, which says more on a machine that
has other work. `phases` are seconds of the run until the last shard was there, `batches` what the new node has made of
its queue.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.importing import Nodes, documents, meilisearch, post_to_one, processor_seconds
from miroir_cli.cluster import Cluster, open_cluster
from miroir_cli.documents.route import shard_of
from miroir_cli.model import SHARD_FIELD, NodeName, ShardId, WriteKind, spell_shard
from miroir_cli.replication.write import Outgoing, write
from miroir_cli.search.scatter import search
from miroir_cli.store.journal import StepEvent
from miroir_cli.topology.file import load_topology

UID = "books"
NEW = NodeName("n4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meilisearch", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--replicas", default="1,2")
    parser.add_argument("--memory", default=None)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the nodes end too
    options = ["--max-indexing-memory", arguments.memory] if arguments.memory else []
    result: dict[str, Any] = {"memory": arguments.memory or "default", "load": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "rows.ndjson"
        with file.open("wb") as target:
            target.writelines(msgspec.json.encode(row) + b"\n" for row in documents(arguments.documents))
        for replicas in map(int, arguments.replicas.split(",")):
            folder = Path(name) / f"rf{replicas}"
            folder.mkdir()
            with meilisearch(arguments.meilisearch, folder, 4, options=options) as nodes:
                bench = Bench(folder, nodes, file, replicas, arguments.documents)
                found = asyncio.run(bench.run(arguments.meilisearch, options))
            result[f"replicas_{replicas}"] = found
    result["load_after"] = round(os.getloadavg()[0], 1)
    sys.stdout.write(json.dumps(result) + "\n")


class Bench:
    """Three nodes of a cluster and one that is to join."""

    def __init__(self, folder: Path, nodes: Nodes, file: Path, replicas: int, documents: int) -> None:
        self.folder = folder
        self.nodes = nodes
        self.file = file
        self.documents = documents
        self.topology = folder / "miroir.toml"
        lines = ["[cluster]", 'name = "bench"', f"replicas = {replicas}"]
        for number, url in enumerate(nodes.urls[:3], 1):
            lines += ["[[nodes]]", f'name = "n{number}"', f'url = "{url}"']
        self.topology.write_text("\n".join(lines) + "\n")

    async def run(self, binary: Path, options: list[str]) -> dict[str, Any]:
        await self.miroir("index", "create", UID, "--primary-key", "id")
        imported = await self.miroir("import", UID, str(self.file))
        async with self.searching() as before:
            await asyncio.sleep(2)
        used = processor_seconds(self.nodes.pids[3:])
        async with self.searching() as during:
            moved = await self.miroir("node", "add", f"{NEW}={self.nodes.urls[3]}", "--yes")
        used = processor_seconds(self.nodes.pids[3:]) - used
        verified = await self.miroir("verify")
        async with open_cluster(load_topology(self.topology)) as cluster:
            phases = _phases(await cluster.store.events(moved["run"]))
            batches = _batches((await cluster.fleet[NEW].get("batches", params={"limit": 1000}))["results"])
            count = self.keep_moved(await self.shards_of(cluster))
        reference, reference_used = await asyncio.to_thread(self.index_alone, binary, options)
        async with self.writing() as writes:
            back = await self.miroir("node", "drain", NEW, "--yes")
        switched = phases["last switch"]
        return {
            "import_seconds": imported["seconds"],
            "moved_documents": count,
            "move_seconds": {"command": moved["took"], "until the last switch": switched, "all": moved["seconds"]},
            "reference_seconds": round(reference, 2),
            "ratio": {
                "until the last switch": round(switched / reference, 2),
                "all": round(moved["seconds"] / reference, 2),
                "command": round(moved["took"] / reference, 2),
            },
            "processor_ratio": round(used / reference_used, 2),
            "searches": {
                "made": len(during.seconds),
                "wrong": during.wrong,
                "p50_ms_before": round(median(before.seconds) * 1000, 1),
                "p50_ms": round(median(during.seconds) * 1000, 1),
            },
            "pauses": {
                "switches": back["moves"],
                "median": back.get("pause_median"),
                "max": back.get("pause_max"),
                "writes": len(writes),
                "write_median": round(median(writes), 3),
                "write_max": round(max(writes), 3),
                "seconds": back["seconds"],
            },
            "verify_seconds": verified["seconds"],
            "verify_to_import": round(verified["seconds"] / imported["seconds"], 3),
            "phases": phases,
            "batches": batches,
        }

    async def miroir(self, *arguments: str) -> dict[str, Any]:
        """A command in a process of its own, and in `took` how long that was."""
        command = [sys.executable, "-m", "miroir_cli", "--json", "-q", "-t", str(self.topology), *arguments]
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        if process.returncode:
            raise SystemExit(f"`miroir {' '.join(arguments)}` ended with status {process.returncode}")
        return {**json.loads(out), "took": round(time.monotonic() - began, 2)}

    async def shards_of(self, cluster: Cluster) -> tuple[set[ShardId], int]:
        map = await cluster.reload(UID)
        return {replica.shard for replica in map.replicas if replica.node == NEW}, map.index.shards

    def keep_moved(self, found: tuple[set[ShardId], int]) -> int:
        """Write the documents of these shards into a file of their own."""
        shards, of = found
        with self.file.open("rb") as rows:
            lines = [line for line in rows if shard_of(str(msgspec.json.decode(line)["id"]), of) in shards]
        (self.folder / "moved.ndjson").write_bytes(b"".join(lines))
        return len(lines)

    def index_alone(self, binary: Path, options: list[str]) -> tuple[float, float]:
        """Seconds, and processor seconds, that a fresh node takes for the documents that were moved."""
        folder = self.folder / "reference"
        folder.mkdir()
        with meilisearch(binary, folder, 1, options=options) as nodes:
            used = processor_seconds(nodes.pids)
            took = post_to_one(nodes.urls[0], self.folder / "moved.ndjson")
            return took, processor_seconds(nodes.pids) - used

    @asynccontextmanager
    async def searching(self) -> AsyncIterator[Searches]:
        """Searches one after the other, 50 ms between them, until the block ends."""
        searches = Searches(self.documents)
        async with open_cluster(load_topology(self.topology)) as cluster:
            task = asyncio.create_task(searches.go_on(cluster))
            try:
                yield searches
            finally:
                task.cancel()
                await asyncio.wait([task])

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[list[float]]:
        """Replace 10 documents ten times a second until the block ends; the seconds each write took to be sent."""
        taken: list[float] = []
        async with open_cluster(load_topology(self.topology)) as cluster:
            task = asyncio.create_task(self._write(cluster, taken))
            try:
                yield taken
            finally:
                task.cancel()
                await asyncio.wait([task])

    async def _write(self, cluster: Cluster, taken: list[float]) -> None:
        index = (await cluster.map(UID)).index
        number = 0
        while True:
            keys: dict[ShardId, list[int]] = {}
            for key in range(number, number + 10):
                keys.setdefault(shard_of(str(key), index.shards), []).append(key)
            outgoing = Outgoing(
                kind=WriteKind.ADD,
                documents={shard: len(named) for shard, named in keys.items()},
                payload=lambda shards, keys=keys: _rows(shards, keys),  # type: ignore[misc]
                keys=lambda shard, keys=keys: [str(key) for key in keys[shard]],  # type: ignore[misc]
            )
            began = time.monotonic()
            await write(cluster, index, outgoing)
            taken.append(time.monotonic() - began)
            number = (number + 10) % self.documents
            await asyncio.sleep(max(0.0, 0.1 - taken[-1]))


class Searches:
    """What searches took, and how many did not see all documents."""

    def __init__(self, documents: int) -> None:
        self.documents = documents
        self.seconds: list[float] = []
        self.wrong = 0

    async def go_on(self, cluster: Cluster) -> None:
        while True:
            began = time.monotonic()
            found = await search(cluster, UID, {"q": "", "limit": 20})
            self.seconds.append(time.monotonic() - began)
            self.wrong += found["estimatedTotalHits"] != self.documents
            await asyncio.sleep(0.05)


def _rows(shards: frozenset[ShardId], keys: dict[ShardId, list[int]]) -> bytes:
    rows = [
        {SHARD_FIELD: spell_shard(shard), "id": key, "title": "written during the move"}
        for shard in sorted(shards)
        for key in keys.get(shard, ())
    ]
    return b"\n".join(map(msgspec.json.encode, rows))


def _phases(events: Sequence[StepEvent]) -> dict[str, float]:
    """Seconds after the run's begin at which steps got to their states."""
    began = min(event.at for event in events)
    found: dict[str, float] = {}
    for state in ("joining", "copying", "switching", "forgetting", "done"):
        times = [(event.at - began) / 1000 for event in events if event.step is not None and event.state == state]
        if times:
            found[f"first {state}"], found[f"last {state}"] = round(min(times), 2), round(max(times), 2)
    found["last switch"] = found.get("last forgetting", found["last done"])
    return found


def _batches(found: list[dict[str, Any]]) -> list[list[object]]:
    """What the new node did: the kind, the number of tasks and of documents, seconds since its first batch, seconds."""
    rows = []
    ended = [batch for batch in reversed(found) if batch["finishedAt"]]
    began = min((_seconds(batch["startedAt"]) for batch in ended), default=0.0)
    for batch in ended:
        start, end = _seconds(batch["startedAt"]), _seconds(batch["finishedAt"])
        kinds = "+".join(sorted(batch["stats"]["types"]))
        documents = batch["details"].get("indexedDocuments") or batch["details"].get("deletedDocuments")
        rows.append([kinds, batch["stats"]["totalNbTasks"], documents, round(start - began, 2), round(end - start, 2)])
    return rows


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


if __name__ == "__main__":
    main()

"""What a live view knows: nodes at their own pace, runs and imports with how far they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import open_cluster
from miroir_cli.dev.engine.testing import running_engine
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.migration.watching import View, Watching, share_read, watching
from miroir_cli.model import NodeName
from miroir_cli.store.records import BatchRecord
from miroir_cli.topology.file import load_topology
from tests.faults.world import write_topology

NDJSON = {"name": "/data/books.ndjson", "size": 1000, "hash": "x"}


def batch(*, source: int = 0, end: int, documents: int = 10, state: str = "done", number: int = 1) -> BatchRecord:
    return BatchRecord(
        import_id=1,
        number=number,
        source=source,
        start=0,
        end=end,
        first_line=1,
        last_line=2,
        documents=documents,
        rejected=0,
        intents={},
        state=state,
    )


@pytest.mark.parametrize(
    ("sources", "batches", "share"),
    [
        ([NDJSON], [batch(end=250)], 0.25),
        ([NDJSON, {**NDJSON, "size": 3000}], [batch(end=900), batch(source=1, end=1000)], 0.5),
        ([NDJSON], [batch(end=2000)], 1.0),
        ([NDJSON], [], None),
        ([{**NDJSON, "size": None, "name": "-"}], [batch(end=5)], None),
        ([{**NDJSON, "name": "books.ndjson.gz"}], [batch(end=5)], None),
        ([{**NDJSON, "name": "books.parquet"}], [batch(end=5)], None),
    ],
)
def test_how_far_an_import_has_read(
    sources: list[Mapping[str, Any]], batches: list[BatchRecord], share: float | None
) -> None:
    assert share_read(sources, batches) == share


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """A server that takes connections and never answers."""
    connections = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for writer in connections:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def seen(found: Watching, *, until: str) -> View:
    """The first view in which node `n1` is in a state."""
    for _ in range(200):
        view = await found.view()
        if view.nodes[0].state == until:
            return view
        await asyncio.sleep(0.05)
    raise AssertionError(view)


async def test_a_node_that_does_not_answer_holds_up_nothing(tmp_path: Path) -> None:
    with running_engine(tmp_path / "disk") as engine:
        async with silent_server() as silent:
            path = write_topology(tmp_path, {NodeName("n1"): engine.url, NodeName("n2"): silent})
            async with open_cluster(load_topology(path), command="test") as cluster:
                async with watching(cluster, interval=0.1) as found:
                    view = await seen(found, until="up")
                    began = time.monotonic()
                    view = await found.view()
                    assert time.monotonic() - began < 1.0
                    assert [node.state for node in view.nodes] == ["up", "asking"]
                    assert view.nodes[0].age is not None and view.nodes[1].age is None
                    assert view.nodes[0].queue == 0 and view.nodes[0].documents == 0


async def test_the_figures_of_a_node_that_went_stay_and_grow_old(tmp_path: Path) -> None:
    with running_engine(tmp_path / "disk") as engine:
        path = write_topology(tmp_path, {NodeName("n1"): engine.url}, shards=4)
        async with open_cluster(load_topology(path), command="test") as cluster:
            await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))
            async with watching(cluster, interval=0.1) as found:
                view = await seen(found, until="up")
                assert [(index.uid, index.shards, len(index.replicas)) for index in view.indexes] == [("books", 4, 4)]
                await asyncio.to_thread(engine.stop)
                view = await seen(found, until="down")
                assert view.nodes[0].documents == 0 and "n1" in (view.nodes[0].error or "")
                await asyncio.sleep(0.3)
                older = (await found.view()).nodes[0]
                assert older.age is not None and older.age >= 0.3


async def test_an_import_tells_its_rate_and_waits_when_nothing_comes(tmp_path: Path) -> None:
    with running_engine(tmp_path / "disk") as engine:
        path = write_topology(tmp_path, {NodeName("n1"): engine.url})
        async with open_cluster(load_topology(path), command="test") as cluster:
            await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))
            index = (await cluster.map("books")).index
            record = await cluster.store.begin_import(
                uid="books", incarnation=index.incarnation, fingerprint={"sources": [NDJSON]}, options={}
            )
            async with watching(cluster, interval=60) as found:
                first = (await found.view()).work[0]
                assert (first.name, first.state, first.documents, first.share) == ("import books", "running", 0, None)
                sent = batch(end=250, documents=50)
                await cluster.store.save_batch(BatchRecord(**{**_fields(sent), "import_id": record.id}))
                await asyncio.sleep(0.05)
                work = (await found.view()).work[0]
                assert (work.documents, work.total, work.share) == (50, 200, 0.25)
                assert work.rate is not None and work.left is not None and work.left > 0


def _fields(record: BatchRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in BatchRecord.__slots__}

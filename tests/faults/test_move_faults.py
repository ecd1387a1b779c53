"""Nodes that fail while shards move: the run gets over it or is ended by the next one, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.dev.engine.faults import Kind
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import Refused, TemporaryError
from miroir_cli.model import IndexMap
from miroir_cli.store.journal import StepState
from tests.faults.moving import FILTERABLE, REPAIR, Client, at, check_finished, delete, run
from tests.faults.world import UID, Ledger, World, check, create, keys_of_every_shard, put, world_of


async def stopped(engine: Engine) -> None:
    engine.stop()
    await asyncio.sleep(1.0)
    engine.start()


async def frozen(engine: Engine) -> None:
    engine.faults.pause()
    engine.faults.add(Kind.DELAY, seconds=1.2, count=None)
    await asyncio.sleep(1.2)
    engine.faults.clear()


async def restarted(engine: Engine) -> None:
    engine.stop()
    engine.start()


async def emptied(engine: Engine) -> None:
    engine.wipe()


NODE_FAULTS: dict[str, Callable[[Engine], Any]] = {
    "stopped": stopped,
    "frozen": frozen,
    "restarted": restarted,
    "emptied": emptied,
}

MOMENTS = [
    ("target", StepState.COPYING),
    ("target", StepState.SWITCHING),
    ("source", StepState.COPYING),
    ("leaving", StepState.FORGETTING),
]


def drain_another(world: World, map: IndexMap) -> dict[str, int]:
    """Have one of the two replicas of the only shard go to the only node that has none; who is who, by number."""
    leaving, source = (int(name.removeprefix("n")) for name in map.nodes())
    world.drain(leaving)
    return {"leaving": leaving, "source": source, "target": 6 - leaving - source}


async def run_until_done(world: World, client: Client, *, first: Callable[..., Any]) -> None:
    """Run while something happens; then as an operator would, until there is nothing to do."""
    reports, outcomes = iter([first]), list[object]()
    for _ in range(5):
        async with world.cluster() as cluster:
            try:
                outcome = await run(cluster, report=next(reports, lambda progress: None))
            except (Refused, TemporaryError) as error:
                outcomes.append(error)
                await asyncio.sleep(0.5)
                continue
            outcomes.append(outcome.result)
            async with client.turn:
                await check(cluster, client.index, client.ledger)
            if outcome.result is None:
                return
    raise AssertionError(f"never through: {outcomes}")


@pytest.mark.parametrize("fault", NODE_FAULTS)
async def test_a_node_fails_while_a_shard_moves(tmp_path: Path, fault: str) -> None:
    with world_of(tmp_path, nodes=3, shards=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster, settings=FILTERABLE), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=6), 0), ledger)
            map = await cluster.reload(UID)
        for who, state in MOMENTS:
            engine = world.engine(drain_another(world, map)[who])
            failing: list[asyncio.Task[None]] = []

            def fail(engine: Engine = engine, failing: list[asyncio.Task[None]] = failing) -> None:
                failing.append(asyncio.create_task(NODE_FAULTS[fault](engine)))

            async with world.cluster() as other:
                async with Client(cluster=other, index=index, ledger=ledger) as client:
                    await run_until_done(world, client, first=at(state, fail))
                    await failing[0]
                await run(other, REPAIR)
                await check_finished(world, other, index, ledger)
                map = await other.reload(UID)


REQUEST_FAULTS: dict[str, dict[str, Any]] = {
    "takes it and does not answer": {"kind": Kind.DROP_AFTER},
    "takes it late": {"kind": Kind.LATE, "seconds": 0.1},
    "drops it": {"kind": Kind.DROP_BEFORE},
    "answers 500": {"kind": Kind.REFUSE, "status": 500, "bare": True},
    "answers 503": {"kind": Kind.REFUSE, "status": 503},
    "answers 429": {"kind": Kind.REFUSE, "status": 429, "count": 2},
    "answers 413": {"kind": Kind.REFUSE, "status": 413, "count": 3},
    "answers 400": {"kind": Kind.REFUSE, "status": 400},
    "fails the task": {"kind": Kind.FAIL_TASK, "path": UID},
    "loses the payload": {"kind": Kind.TRUNCATE, "path": UID},
}


@pytest.mark.parametrize("emptied", [True, False], ids=["all of a node", "some shards"])
@pytest.mark.parametrize("fault", REQUEST_FAULTS)
async def test_a_request_of_a_move_fails(tmp_path: Path, fault: str, *, emptied: bool) -> None:
    """First one that brings documents to the target, then the one that deletes them from the node that is left: by
    their shard, or with the whole index."""
    with world_of(tmp_path, nodes=3, shards=1 if emptied else 4) as world:
        if not emptied:
            world.drain(1)
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=6), 0), ledger)
            map = await cluster.reload(UID)
        if emptied:
            who = drain_another(world, map)
        else:
            world.drain()
            who = {"leaving": 2, "target": 1}
        options = REQUEST_FAULTS[fault]
        deletion = {"method": "DELETE", "path": "/books$"} if emptied else {"method": "POST", "path": "/delete$"}
        armed = [
            world.engine(who["target"]).faults.add(**{"method": "POST", "path": "/books/documents$", **options}),
            world.engine(who["leaving"]).faults.add(**{**deletion, **options}),
        ]
        async with world.cluster() as cluster:
            outcome = await run(cluster)
            assert outcome.result is not None and not outcome.result.unfinished
            await check_finished(world, cluster, index, ledger)
            assert all(fault.hits for fault in armed if fault.kind is not Kind.TRUNCATE)


async def test_a_deletion_by_keys_that_a_node_finds_too_large_is_sent_in_halves(tmp_path: Path) -> None:
    """A copy that has missed the deletion of all its documents gets it from the mover."""
    with world_of(tmp_path, nodes=2, shards=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index, each=8)
            await put(cluster, index, dict.fromkeys(keys, 0), ledger)
            world.engine(2).stop()
            await delete(cluster, index, ledger, keys)
            world.engine(2).start()
            refused = world.engine(2).faults.add(Kind.REFUSE, path="/delete-batch$", status=413, count=3)
            outcome = await run(cluster, REPAIR)
            assert outcome.result is not None and refused.hits == 3
            events = await cluster.store.events(outcome.result.run.id)
            assert [event.detail for event in events if event.step is not None and event.detail] == []
            await check_finished(world, cluster, index, ledger)

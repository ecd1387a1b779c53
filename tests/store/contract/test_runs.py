"""Runs and their journal, on every backend."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

import pytest

from miroir_cli.errors import NotFound
from miroir_cli.model import IndexUid, NodeName, ShardId
from miroir_cli.store.journal import (
    KEPT_RUNS,
    Process,
    RunId,
    RunKind,
    RunRecord,
    RunState,
    StepRecord,
    StepState,
    Wanted,
)
from miroir_cli.store.processes import host_name
from tests.store.conftest import Open

STEP = StepRecord(number=1, index=IndexUid("books"), incarnation=1, shard=ShardId(0), target=NodeName("c"))


def process(pid: int) -> Process:
    return Process(host="here", pid=pid, born="4711")


def a_run(**more: Any) -> RunRecord:
    fields: dict[str, Any] = {"kind": RunKind.REBALANCE, "title": "add c", "rate": None, "command": "first", **more}
    return RunRecord(
        id=RunId(0),
        state=RunState.RUNNING,
        wanted=Wanted.GO,
        parallel=2,
        process=process(11),
        fingerprint="f",
        started_at=0,
        **fields,
    )


async def test_a_run_is_kept_with_its_steps_and_who_did_what(store: Any) -> None:
    begun = await store.begin_run(a_run(summary={"planned": 1}), [STEP])
    assert begun == replace(a_run(summary={"planned": 1}), id=begun.id, started_at=begun.started_at)
    assert begun.started_at > 0 and await store.run(begun.id) == begun
    await store.save_step(begun.id, replace(STEP, state=StepState.SWITCHING))
    assert await store.switching("books") == (process(11),)
    assert await store.switching("films") == ()
    assert await store.unfinished_run(RunKind.REPAIR) is None
    adopted = await store.adopt_run(begun.id, process=process(12), command="second")
    assert (adopted.process, adopted.command) == (process(12), "second")
    assert await store.switching("books") == (process(12),)
    await store.control_run(begun.id, command="third", wanted=Wanted.PAUSE, rate=50)
    assert await store.switching("books") == ()
    found = await store.unfinished_run()
    assert found is not None and (found.wanted, found.rate, found.process) == (Wanted.PAUSE, 50, process(12))
    await store.control_run(begun.id, command="third", rate=0, parallel=3)
    found = await store.run(begun.id)
    assert found is not None and (found.rate, found.parallel) == (None, 3)
    done = replace(STEP, state=StepState.DONE, copied=9, documents=9, pause=0.25)
    await store.save_step(begun.id, done, detail="well")
    await store.save_run(begun.id, state=RunState.DONE, summary={"moves": 1})
    assert await store.unfinished_run() is None
    ended = await store.run(begun.id)
    assert ended is not None and (ended.state, ended.summary) == (RunState.DONE, {"moves": 1})
    assert ended.finished_at is not None and ended.finished_at >= ended.started_at
    assert await store.steps(begun.id) == (done,)
    assert [(e.step, e.command, e.state, e.detail) for e in await store.events(begun.id)] == [
        (None, "first", "begun", "1 steps"),
        (1, "first", "switching", ""),
        (None, "second", "resumed", ""),
        (None, "third", "asked: pause", ""),
        (None, "third", "rate: 50", ""),
        (None, "third", "rate: 0", ""),
        (None, "third", "parallel: 3", ""),
        (1, "second", "done", "well"),
        (None, "second", "done", ""),
    ]
    who = {(e.command, e.process.host, e.process.pid) for e in await store.events(begun.id)}
    assert who == {("first", "here", 11), ("second", "here", 12), ("third", host_name(), os.getpid())}


async def test_a_stopped_run_is_unfinished_and_goes_on(store: Any) -> None:
    begun = await store.begin_run(a_run(), [STEP])
    await store.save_run(begun.id, state=RunState.STOPPED)
    found = await store.unfinished_run()
    assert found is not None and found.state is RunState.STOPPED and found.finished_at is None
    adopted = await store.adopt_run(begun.id, process=process(12), command="second")
    assert adopted.state is RunState.RUNNING


async def test_a_step_that_failed_switches_nothing(store: Any) -> None:
    begun = await store.begin_run(a_run(), [STEP, replace(STEP, number=2)])
    await store.save_step(begun.id, replace(STEP, state=StepState.SWITCHING))
    await store.save_step(begun.id, replace(STEP, number=2, state=StepState.SWITCHING, error="a node is away"))
    assert await store.switching("books") == (process(11),)
    await store.save_step(begun.id, replace(STEP, state=StepState.SWITCHING, error="a node is away"))
    assert await store.switching("books") == ()


async def test_nothing_is_known_of_a_run_that_never_was(store: Any) -> None:
    assert await store.run(RunId(7)) is None
    assert await store.steps(RunId(7)) == () and await store.events(RunId(7)) == ()
    for change in (
        store.adopt_run(RunId(7), process=process(1), command="x"),
        store.control_run(RunId(7), command="x", rate=1),
        store.save_run(RunId(7), state=RunState.DONE),
        store.save_step(RunId(7), STEP),
    ):
        with pytest.raises(NotFound, match="run 7 not found"):
            await change


async def test_runs_are_listed_newest_first_and_the_oldest_unfinished_is_found(store: Any) -> None:
    ids = [(await store.begin_run(a_run(title=f"run {number}"), [])).id for number in range(5)]
    assert [run.id for run in await store.runs(limit=3)] == ids[:1:-1]
    await store.save_run(ids[0], state=RunState.CANCELLED)
    found = await store.unfinished_run()
    assert found is not None and found.id == ids[1]


async def test_old_runs_that_ended_are_forgotten_with_all_that_is_known_of_them(store: Any) -> None:
    kept = await store.begin_run(a_run(), [STEP])
    gone = await store.begin_run(a_run(), [STEP])
    await store.save_step(gone.id, replace(STEP, state=StepState.SWITCHING))
    await store.save_run(gone.id, state=RunState.FAILED)
    for _ in range(KEPT_RUNS):
        await store.begin_run(a_run(kind=RunKind.VERIFY), [])
    assert await store.run(kept.id) is not None
    assert await store.run(gone.id) is None
    assert await store.steps(gone.id) == () and await store.events(gone.id) == ()
    assert await store.switching("books") == ()
    assert len(await store.runs(limit=KEPT_RUNS * 2)) == KEPT_RUNS + 1


async def test_several_processes_begin_runs_and_save_steps_at_once(another: Open) -> None:
    stores = [await another() for _ in range(3)]
    begun = await asyncio.gather(
        *(
            store.begin_run(a_run(title=f"{number}"), [replace(STEP, number=step) for step in range(4)])
            for number, store in enumerate(stores * 2)
        )
    )
    assert len({run.id for run in begun}) == 6
    run = begun[0]
    steps = [replace(STEP, number=step, state=StepState.COPYING, copied=step) for step in range(4)]
    await asyncio.gather(
        *(store.save_step(run.id, step) for store, step in zip(stores + stores[:1], steps, strict=True)),
        stores[1].control_run(run.id, command="slower", rate=5),
    )
    assert await stores[2].steps(run.id) == tuple(steps)
    found = await stores[2].run(run.id)
    assert found is not None and found.rate == 5
    assert sorted(event.state for event in await stores[0].events(run.id)) == ["begun", *["copying"] * 4, "rate: 5"]

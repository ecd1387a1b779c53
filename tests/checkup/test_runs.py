"""What the doctor says of runs: cut off, stopped, paused or held up, mended as it says, and gone."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.checkup.finding import Severity
from miroir_cli.cluster import Cluster
from miroir_cli.model import NodeName, ShardId
from miroir_cli.store.journal import Process, RunId, RunKind, RunRecord, RunState, StepRecord, Wanted
from tests.checkup.staged import findings, type_in
from tests.faults.world import N1, UID, create, world_of

NOBODY = 2**22 + 1
"""No process has this number."""


async def begin(cluster: Cluster, *, kind: RunKind = RunKind.REBALANCE, pid: int = NOBODY) -> RunRecord:
    """A run of one step, which is done already, driven by that process."""
    index = await create(cluster)
    step = StepRecord(number=0, index=index.uid, incarnation=index.incarnation, shard=ShardId(0), target=NodeName("n2"))
    run = RunRecord(
        id=RunId(0),
        kind=kind,
        title="node add n4",
        state=RunState.RUNNING,
        wanted=Wanted.GO,
        parallel=1,
        rate=None,
        process=Process(host="", pid=pid),
        command="miroir node add n4",
        fingerprint="",
        started_at=0,
    )
    return await cluster.store.begin_run(run, [step])


@pytest.mark.parametrize("choice", [0, 1])
async def test_a_run_that_was_cut_off_goes_on_or_is_given_up(tmp_path: Path, choice: int) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            run = await begin(cluster)
        found = await findings(world)
        assert set(found) == {"run.unfinished"}
        finding = found["run.unfinished"]
        assert (finding.where, finding.severity) == (str(run.id), Severity.WARNING)
        assert re.match(
            rf"run {run.id} \(`node add n4`\), begun \d+ s ago, was cut off with 0 of 1 step", finding.message
        )
        await type_in(world, finding, choice=choice)
        assert await findings(world) == {}


@pytest.mark.parametrize("kind", [RunKind.REPAIR, RunKind.VERIFY])
async def test_a_repair_or_verification_that_was_cut_off(tmp_path: Path, kind: RunKind) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await begin(cluster, kind=kind)
        finding = (await findings(world))["run.unfinished"]
        assert finding.next == (f"miroir {kind}",)
        assert finding.severity is (Severity.INFO if kind is RunKind.VERIFY else Severity.WARNING)
        await type_in(world, finding)
        assert await findings(world) == {}


async def test_a_run_that_ran_out_of_time_is_worth_knowing(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            run = await begin(cluster)
            await cluster.store.save_run(run.id, state=RunState.STOPPED)
        finding = (await findings(world))["run.unfinished"]
        assert finding.severity is Severity.INFO
        assert "was stopped with" in finding.message


async def test_a_run_that_is_paused(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            run = await begin(cluster, pid=os.getpid())
            assert await findings(world) == {}
            await cluster.store.control_run(run.id, command="test", wanted=Wanted.PAUSE)
        found = await findings(world)
        assert set(found) == {"run.paused"}
        await type_in(world, found["run.paused"])
        assert await findings(world) == {}


async def test_what_holds_a_run_up(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            run = await begin(cluster, pid=os.getpid())
            (step,) = await cluster.store.steps(run.id)
            await cluster.store.save_step(run.id, replace(step, error=f"node `{N1}` does not answer"))
        found = await findings(world)
        assert set(found) == {"run.held-up"}
        assert found["run.held-up"].message.endswith("1 step is held up: node `n1` does not answer")
        assert UID not in found["run.held-up"].next

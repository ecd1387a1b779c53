"""The verbs over plans and runs: make the cluster what its topology file says, mend replicas, steer a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import IndexRenamed, Locked, NotFound, Refused, WriteUnknown
from miroir_cli.indexes.nodes import prepare_index
from miroir_cli.migration.facts import gather_facts
from miroir_cli.migration.fences import Fences
from miroir_cli.migration.plan import Facts, Plan, PlannedStep, Refusal, plan_moves
from miroir_cli.migration.run import Runner, RunOptions, RunProgress, RunResult, begin, clear_leftovers, fingerprint
from miroir_cli.migration.side import Side
from miroir_cli.migration.step import describe_shards
from miroir_cli.migration.work import Work
from miroir_cli.model import IndexMap, NodeName, ReplicaState
from miroir_cli.replication.members import call_roll, publish
from miroir_cli.replication.recover import recover
from miroir_cli.store.journal import RunId, RunKind, RunRecord, RunState, StepRecord, StepState, Wanted
from miroir_cli.store.processes import this_process

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

RUN_LOCK = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a run is to bring about. `lost`: nodes that are given up, with whatever only they have. `only_repair`:
    mend what is stale, move nothing. `indexes`: only these (None: all)."""

    title: str
    lost: frozenset[NodeName] = frozenset()
    only_repair: bool = False
    indexes: frozenset[str] | None = None

    def wish(self, cluster: Cluster) -> str:
        return fingerprint(cluster.topology, more=[sorted(self.lost), sorted(self.indexes or ())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a change came to: the run (None: nothing had to be done), what the plan had to leave out, and nodes that
    are members no longer because the topology does not name them any more."""

    result: RunResult | None
    refusals: tuple[Refusal, ...] = ()
    expelled: tuple[NodeName, ...] = ()


async def make_plan(cluster: Cluster, change: Change) -> tuple[Plan, Facts]:
    """What a run for this change would do now. Changes nothing."""
    maps = await _maps(cluster, change.indexes)
    facts = await gather_facts(cluster, maps)
    plan = plan_moves(maps, cluster.topology, facts, only_repair=change.only_repair, nodes_lost=change.lost)
    return plan, facts


async def _maps(cluster: Cluster, indexes: Iterable[str] | None) -> list[IndexMap]:
    if indexes is not None:
        return [await cluster.reload(uid) for uid in sorted(indexes)]
    return list(await cluster.maps())


async def rebalance(
    cluster: Cluster,
    change: Change,
    *,
    options: RunOptions | None = None,
    report: Callable[[RunProgress], None] = lambda progress: None,
) -> Outcome:
    """Bring the change about: go on with a run that was planned for the same wish, else plan and run.

    Raises `Locked` naming the owner while another process drives a run, and `Refused` when nothing can be done, or
    when it would lose data; nothing is moved then.
    """
    async with cluster.locks.once(RUN_LOCK):
        return await rebalance_locked(cluster, change, options=options, report=report)


async def rebalance_locked(
    cluster: Cluster,
    change: Change,
    *,
    options: RunOptions | None = None,
    report: Callable[[RunProgress], None] = lambda progress: None,
) -> Outcome:
    """The same for a caller that holds the run lock."""
    options = options or RunOptions()
    began = time.monotonic()
    await call_roll(cluster)
    resumed = await _resume(cluster, change, options=options, report=report)
    if resumed is not None and resumed.run.state is not RunState.DONE:
        return Outcome(result=resumed)
    plan, facts = await make_plan(cluster, change)
    if resumed is None or plan.steps:
        refuse(plan, change)
    if not plan.steps:
        return Outcome(result=resumed, refusals=plan.refusals, expelled=await _expel_vanished(cluster, change))
    await _start_lost_shards(cluster, plan, change, facts)
    await _follow_topology(cluster)
    if options.max_duration is not None:
        options = replace(options, max_duration=options.max_duration - (time.monotonic() - began))
    result = await _run_plan(cluster, change, plan, facts, options=options, report=report)
    return Outcome(result=result, refusals=plan.refusals, expelled=await _expel_vanished(cluster, change))


async def _resume(
    cluster: Cluster, change: Change, *, options: RunOptions, report: Callable[[RunProgress], None]
) -> RunResult | None:
    """Go on with the run that was begun for the same wish; None when there is none."""
    run = await _unfinished(cluster, change)
    if run is None:
        return None
    if run.wanted is Wanted.CANCEL:  # whoever was to undo it has died
        await _cancel_here(cluster, run)
        return None
    run = await cluster.store.adopt_run(run.id, process=this_process(), command=cluster.command)
    if options.rate is not None or options.parallel is not None:
        await _steer(cluster, run, options)
    return await Runner(cluster, run, options=options, report=report).drive()


async def _run_plan(
    cluster: Cluster,
    change: Change,
    plan: Plan,
    facts: Facts,
    *,
    options: RunOptions,
    report: Callable[[RunProgress], None],
) -> RunResult:
    run = await begin(
        cluster,
        plan.steps,
        kind=RunKind.REPAIR if change.only_repair else RunKind.REBALANCE,
        title=change.title,
        options=options,
        wish=change.wish(cluster),
        documents={(uid, shard): n for uid, shards in facts.documents.items() for shard, n in shards.items()},
        incarnations=facts.incarnations,
    )
    return await Runner(cluster, run, options=options, report=report).drive()


async def _expel_vanished(cluster: Cluster, change: Change) -> tuple[NodeName, ...]:
    """Members that the topology does not name any more are members no longer once no replica is left there. A repair,
    which an import may drive that has read the file long ago, leaves them alone."""
    if change.only_repair:
        return ()
    holding = {name for map in await _maps(cluster, None) for name in map.nodes()}
    gone = tuple(
        name for name in sorted(await cluster.store.members()) if name not in cluster.fleet and name not in holding
    )
    for name in gone:
        await cluster.store.expel(name)
    return gone


def refuse(plan: Plan, change: Change) -> None:
    """Raise `Refused` when a plan can do nothing of what it should, or would lose shards without consent.

    Single shards that cannot be moved now do not stop the others, unless nodes that the topology no longer names have
    the only in-sync copy: that is rather a mistake in the file than a wish.
    """
    last = [refusal for refusal in plan.refusals if refusal.last_copy]
    if last and not change.only_repair:
        raise Refused(
            f"{describe_shards([(refusal.index, refusal.shard) for refusal in last])}: {last[0].reason}",
            hint="put the node back into the topology file, or give up what only it has: "
            "`miroir node remove NAME --no-drain --force`",
        )
    whole = [refusal for refusal in plan.refusals if refusal.shard is None]
    if whole or (plan.refusals and not plan.steps):
        first = (whole or plan.refusals)[0]
        alike = [(each.index, each.shard) for each in whole or plan.refusals if each.reason == first.reason]
        more = len(plan.refusals) - len(alike)
        raise Refused(
            f"{describe_shards(alike)}: {first.reason}{f' (and {more} more)' if more else ''}",
            hint="run `miroir rebalance plan` to see all of it",
        )
    if plan.lost and not change.lost:
        lost = [(uid, shard) for uid, shards in plan.lost.items() for shard in shards]
        raise Refused(
            f"these shards would be lost: {describe_shards(lost)}", hint="bring their node back, or say `--force`"
        )


async def _unfinished(cluster: Cluster, change: Change) -> RunRecord | None:
    """The run to go on with. A repair that died is closed: its steps are planned anew. A rebalance that was for
    another wish is given up, and what it had begun is undone; a repair leaves it alone."""
    while (repair := await cluster.store.unfinished_run(RunKind.REPAIR)) is not None:
        await _overtake(cluster, repair)
        await cluster.store.save_run(repair.id, state=RunState.FAILED)
    run = await cluster.store.unfinished_run()
    if run is not None:
        await _overtake(cluster, run)
    if change.only_repair:
        return None
    if run is None or run.fingerprint == change.wish(cluster):
        return run
    work = Work(cluster=cluster, run=run, fences=Fences(cluster))
    for step in await cluster.store.steps(run.id):
        if not step.state.ended:
            await _give_up(work, step)
    await clear_leftovers(work)
    await cluster.store.save_run(run.id, state=RunState.CANCELLED)
    return None


async def _overtake(cluster: Cluster, run: RunRecord) -> None:
    """Whoever holds the run lock has it from the driver of a run that goes on, as far as that one knows."""
    if cluster.fencing is not None and run.state is RunState.RUNNING:
        await cluster.fencing.overtake(run.process)


async def _give_up(work: Work, step: StepRecord) -> None:
    index = next((each for each in await work.cluster.store.indexes() if each.uid == step.index), None)
    if index is not None and index.incarnation == step.incarnation and step.target is not None:
        async with work.cluster.locks.order(index.uid):
            await work.cluster.store.unjoin(index, step.shard, step.target)
    ended = StepState.DONE if step.state.switched else StepState.CANCELLED
    await work.note(step, state=ended, detail="another wish")


async def _follow_topology(cluster: Cluster) -> None:
    """Indexes without a number of replicas of their own have the topology's."""
    replicas = cluster.topology.cluster.replicas
    for index in await cluster.store.indexes():
        if not index.own_replicas and index.replicas != replicas:
            await cluster.store.set_replicas(index, replicas)


async def _steer(cluster: Cluster, run: RunRecord, options: RunOptions) -> None:
    await cluster.store.control_run(run.id, command=cluster.command, rate=options.rate, parallel=options.parallel)


async def _start_lost_shards(cluster: Cluster, plan: Plan, change: Change, facts: Facts) -> None:
    """Give up what the lost nodes have of shards that are nowhere else, and begin these anew on the first of their
    targets."""
    for uid, shards in plan.lost.items():
        replicas = dict.fromkeys(sorted(change.lost), shards)
        await cluster.store.mark(uid, replicas, state=ReplicaState.LOST, incarnation=facts.incarnations[uid])
    for step in plan.steps:
        if step.target is None or step.shard not in plan.lost.get(step.index, ()):
            continue
        map = await cluster.reload(step.index)
        if map.index.incarnation != facts.incarnations[step.index]:
            raise IndexRenamed(f"index `{step.index}` is another one now", hint="run the same command again")
        if not map.in_sync()[step.shard]:
            await accept_as_truth(cluster, map, step)
            if step.leaving is not None:
                await cluster.store.leave(map.index, step.shard, step.leaving, keep=1)


async def accept_as_truth(cluster: Cluster, map: IndexMap, step: PlannedStep) -> None:
    """Whatever the step's target has of the shard, be it nothing, is the shard from now on; a replica that was in sync
    on a node that is gone is stale. A write that only that node could tell of has ended then."""
    assert step.target is not None
    client = cluster.fleet[step.target]
    await prepare_index(cluster, map.index, client, settle=False)
    async with cluster.locks.order(map.index.uid):
        with suppress(WriteUnknown):
            await recover(cluster, map.index)
        top = await Side(client, map.index, step.shard).top_task()
        await cluster.store.promote(map.index, step.shard, step.target, top=top)
        with suppress(WriteUnknown):  # it is about another shard as well
            await recover(cluster, map.index)
    await publish(cluster, map.index.uid)


# -- steering a run from another shell


async def control(cluster: Cluster, wanted: Wanted | None = None, *, rate: int | None = None) -> RunRecord:
    """Tell the unfinished run what is wanted of it, and how many documents a second it may move (0: as fast as it
    goes). Raises `NotFound` when there is none."""
    run = await require_unfinished(cluster)
    await cluster.store.control_run(run.id, command=cluster.command, wanted=wanted, rate=rate)
    found = await cluster.store.run(run.id)
    assert found is not None
    return found


async def require_unfinished(cluster: Cluster) -> RunRecord:
    """The run that is under way or waits to go on; a rebalance rather than a repair."""
    run = await cluster.store.unfinished_run()
    if run is None:
        raise NotFound("no run is under way", hint="run `miroir rebalance plan` to see what would be done")
    return run


async def cancel(cluster: Cluster, *, timeout: float = 60.0) -> RunRecord:
    """Cancel the unfinished run: what has switched stays, everything else is undone. A living owner does it itself,
    for a dead one it is done here."""
    run = await require_unfinished(cluster)
    await cluster.store.control_run(run.id, command=cluster.command, wanted=Wanted.CANCEL)
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        found = await cluster.store.run(run.id)
        assert found is not None
        if found.state.ended:
            return found
        try:
            async with cluster.locks.once(RUN_LOCK):
                return await _cancel_here(cluster, found)
        except Locked:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.3)


async def _cancel_here(cluster: Cluster, run: RunRecord) -> RunRecord:
    current = await cluster.store.run(run.id)
    if current is not None and current.state.ended:
        return current
    await call_roll(cluster)
    runner = Runner(cluster, run, options=RunOptions())
    runner.work.stop.set()
    return (await runner.drive()).run


async def describe_run(cluster: Cluster, id: RunId | None = None) -> dict[str, Any]:
    """A run as `rebalance status` and `journal show` print it: the record, its steps and how far they are."""
    run = await (require_unfinished(cluster) if id is None else _run(cluster, id))
    steps = await cluster.store.steps(run.id)
    moves = [step for step in steps if step.target is not None]
    expected = [step.documents for step in moves]
    return {
        "run": run.id,
        "kind": run.kind.value,
        "title": run.title,
        "state": run.state.value,
        "wanted": run.wanted.value,
        "host": run.process.host,
        "pid": run.process.pid,
        "alive": run.state is RunState.RUNNING and await cluster.locks.lives(run.process),
        "command": run.command,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "parallel": run.parallel,
        "rate": run.rate,
        "moves": len(moves),
        "switched": sum(step.state.switched for step in moves),
        "documents": None if None in expected else sum(filter(None, expected)),
        "documents_moved": sum(step.copied for step in moves),
        "steps": [_step(step) for step in steps],
        **({"summary": dict(run.summary)} if run.summary else {}),
    }


async def _run(cluster: Cluster, id: RunId) -> RunRecord:
    run = await cluster.store.run(id)
    if run is None:
        raise NotFound(f"run {id} not found", hint="run `miroir journal list`")
    return run


def _step(step: StepRecord) -> dict[str, Any]:
    return {
        "number": step.number,
        "index": step.index,
        "shard": step.shard,
        "from": step.leaving,
        "to": step.target,
        "repair": step.repair,
        "state": step.state.value,
        "documents": step.documents,
        "copied": step.copied,
        "pause": step.pause,
        "error": step.error,
    }

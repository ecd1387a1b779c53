"""Runs: a plan becomes journaled steps, and several of them go on at a time until all are done or somebody stops them.

A run whose process died goes on with the next command: its steps are begun anew, and what the nodes have already
costs only its comparison.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import msgspec

from miroir_cli.errors import IndexNotFound, Interrupted, MiroirError
from miroir_cli.migration.fences import Fences
from miroir_cli.migration.forget import FLUSH_EVERY, Forgetting, forget_shards
from miroir_cli.migration.move import Move, undo
from miroir_cli.migration.work import MAX_PAUSE, Stopped, Work
from miroir_cli.model import Index, IndexUid, NodeName, ReplicaState, ShardId
from miroir_cli.store.journal import RunId, RunKind, RunRecord, RunState, StepRecord, StepState, Wanted
from miroir_cli.store.processes import this_process

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.plan import PlannedStep
    from miroir_cli.topology.file import Topology

PARALLEL: Final = 16
"""Shards in flight: nodes index what has gathered in their queue in one go, and a small batch costs as much as a large
one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run goes about it: shards in flight, documents a second (None: as fast as it goes), seconds after which it
    stops clean (None: never), seconds for which a node that gives trouble is tried again, and the most seconds for
    which a switch holds up writers. `forget_every`: seconds between two rounds of deletions beside the moves."""

    parallel: int | None = None
    rate: int | None = None
    max_duration: float | None = None
    retry_for: float = 60.0
    max_pause: float = MAX_PAUSE
    forget_every: float = FLUSH_EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is. Documents are those that the targets have indexed, of those planned (None: not known)."""

    run: RunId
    steps: int
    done: int
    documents: int
    expected: int | None
    active: tuple[StepRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What became of a run: its record and its steps. `pauses` are the seconds that writers were held up, a try
    each; `switched_after` are the seconds until the last one, the rest was clearing up; `left` names nodes from which
    documents could not be taken away yet."""

    run: RunRecord
    steps: tuple[StepRecord, ...]
    seconds: float
    switched_after: float | None = None
    pauses: tuple[float, ...] = ()
    left: Mapping[NodeName, str] = field(default_factory=dict)

    @property
    def unfinished(self) -> tuple[StepRecord, ...]:
        return tuple(step for step in self.steps if not step.state.ended)

    def json(self) -> dict[str, object]:
        """The contract with scripts."""
        moves = [step for step in self.steps if step.target is not None]
        result: dict[str, object] = {
            "run": self.run.id,
            "state": self.run.state.value,
            "moves": sum(step.state.switched for step in moves),
            "drops": sum(step.state.switched for step in self.steps if step.target is None),
            "documents_moved": sum(step.copied for step in moves),
            "seconds": round(self.seconds, 3),
        }
        if self.switched_after is not None:
            result["switched_after"] = round(self.switched_after, 3)
        if self.pauses:
            result["pause_median"] = round(statistics.median(self.pauses), 3)
            result["pause_max"] = round(max(self.pauses), 3)
        if self.unfinished:
            result["unfinished"] = [
                {"index": step.index, "shard": step.shard, "node": step.target or step.leaving, "error": step.error}
                for step in self.unfinished
            ]
        return result


def fingerprint(topology: Topology, *, more: Sequence[object] = ()) -> str:
    """What a run was planned for: another wish makes another plan."""
    nodes = [[n.name, n.group, n.zone, n.weight, n.drained] for n in sorted(topology.nodes, key=lambda n: n.name)]
    wish = msgspec.json.encode([nodes, topology.cluster.replicas, list(more)])
    return hashlib.sha256(wish).hexdigest()[:16]


async def begin(
    cluster: Cluster,
    steps: Sequence[PlannedStep],
    *,
    kind: RunKind,
    title: str,
    options: RunOptions,
    wish: str,
    documents: Mapping[tuple[IndexUid, ShardId], int],
    incarnations: Mapping[IndexUid, int],
) -> RunRecord:
    """Record a run before anything of it happens. `incarnations`: of the indexes that it was planned for."""
    records = [
        StepRecord(
            number=number,
            index=step.index,
            incarnation=incarnations[step.index],
            shard=step.shard,
            target=step.target,
            leaving=step.leaving,
            repair=step.repair,
            documents=documents.get((step.index, step.shard)) if step.target is not None else None,
        )
        for number, step in enumerate(steps, start=1)
    ]
    run = RunRecord(
        id=RunId(0),
        kind=kind,
        title=title,
        state=RunState.RUNNING,
        wanted=Wanted.GO,
        parallel=options.parallel or PARALLEL,
        rate=options.rate,
        process=this_process(),
        command=cluster.command,
        fingerprint=wish,
        started_at=0,
    )
    return await cluster.store.begin_run(run, records)


class Runner:
    """Drives one run in this process. The caller holds the run lock. A repair has ended when this process is through
    with it, for the next one is planned anew."""

    def __init__(
        self,
        cluster: Cluster,
        run: RunRecord,
        *,
        options: RunOptions,
        report: Callable[[RunProgress], None] = lambda progress: None,
    ) -> None:
        self.cluster = cluster
        self.resumable = run.kind is RunKind.REBALANCE
        self.options = options
        self.report = report
        self.work = Work(
            cluster=cluster,
            run=run,
            fences=Fences(cluster),
            report=self._stepped,
            max_pause=options.max_pause,
            retry_for=options.retry_for,
        )
        self.work.unpaused.set()
        self.forgetting = Forgetting(work=self.work, every=options.forget_every)
        self.steps: dict[int, StepRecord] = {}
        self._indexes: dict[str, Index] = {}
        self._holders: dict[str, int] = {}
        self._held: dict[str, AsyncExitStack] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._active: set[int] = set()
        self._switched: float | None = None

    async def drive(self) -> RunResult:
        """Go on with every step that has not ended. Returns when all have, or at a clean place when the run's time is
        over or it was cancelled; raises `Interrupted` at a clean place when this task is cancelled."""
        began = time.monotonic()
        self.steps = {step.number: step for step in await self.cluster.store.steps(self.work.run.id)}
        self._indexes = {index.uid: index for index in await self.cluster.store.indexes()}
        listening = asyncio.create_task(self.work.listen())
        ending = asyncio.create_task(self._end_in_time())
        work = asyncio.create_task(self._work())
        stopped = RunState.STOPPED if self.resumable else RunState.FAILED
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self.work.stop.set()
            await asyncio.wait([work])
            await self._finish(began, stopped)
            raise Interrupted(
                f"run {self.work.run.id} stopped at a clean place", hint="run `miroir rebalance run` to go on"
            ) from None
        except MiroirError:
            await self._finish(began, stopped)
            raise
        finally:
            listening.cancel()
            ending.cancel()
            await self.work.end()
            await self.work.publish()
        return await asyncio.shield(self._end(began))

    async def _end(self, began: float) -> RunResult:
        return await self._finish(began, await self._state())

    async def _state(self) -> RunState:
        current = await self.cluster.store.run(self.work.run.id)
        if current is not None and current.wanted is Wanted.CANCEL:
            await self._undo()
            return RunState.CANCELLED
        if all(step.state.ended for step in self.steps.values()):
            return RunState.DONE
        return RunState.STOPPED if self.resumable else RunState.FAILED

    async def _finish(self, began: float, state: RunState) -> RunResult:
        result = RunResult(
            run=self.work.run,
            steps=tuple(self.steps[number] for number in sorted(self.steps)),
            seconds=time.monotonic() - began,
            switched_after=None if self._switched is None else self._switched - began,
            pauses=tuple(self.work.pauses),
            left=dict(self.forgetting.left),
        )
        summary = {key: value for key, value in result.json().items() if key not in ("run", "state", "unfinished")}
        before = self.work.run.summary.get("seconds", 0.0)
        summary["seconds"] = round(float(before) + result.seconds, 3)
        await self.cluster.store.save_run(self.work.run.id, state=state, summary=summary)
        run = await self.cluster.store.run(self.work.run.id)
        assert run is not None
        return replace(result, run=run)

    async def _end_in_time(self) -> None:
        if self.options.max_duration is not None:
            await asyncio.sleep(self.options.max_duration)
            self.work.stop.set()

    def _stepped(self, step: StepRecord) -> None:
        self.steps[step.number] = step
        steps = self.steps.values()
        expected = [each.documents for each in steps if each.target is not None]
        self.report(
            RunProgress(
                run=self.work.run.id,
                steps=len(steps),
                done=sum(each.state.switched or each.state.ended for each in steps),
                documents=sum(each.copied for each in steps),
                expected=None if None in expected else sum(filter(None, expected)),
                active=tuple(each for each in steps if each.number in self._active),
            )
        )

    # -- the steps

    async def _work(self) -> None:
        """Take the steps in their order, `parallel` at a time, and take away what they leave behind: beside them now
        and then, all of it in the end."""
        waiting = [step for step in self.steps.values() if not step.state.ended]
        active: dict[asyncio.Task[None], StepRecord] = {}
        clearing = asyncio.create_task(self.forgetting.flush_sometimes())
        try:
            while (waiting and not self.work.stop.is_set()) or active:
                while len(active) < self.work.run.parallel and not self.work.stop.is_set():
                    step = _next(waiting, active.values())
                    if step is None:
                        break
                    waiting.remove(step)
                    active[asyncio.create_task(self._step(step))] = step
                done, _ = await asyncio.wait(active, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del active[task]
                    task.result()
                if clearing.done():
                    clearing.result()
                    clearing = asyncio.create_task(self.forgetting.flush_sometimes())
        finally:
            if active:  # trouble with the state: the others stop at a clean place
                self.work.stop.set()
            await asyncio.wait([clearing, *active])
        clearing.result()
        await self.forgetting.flush()

    async def _step(self, step: StepRecord) -> None:
        """One step as far as it goes now; trouble of one does not end the others."""
        index = self._indexes.get(step.index)
        if index is None or index.incarnation != step.incarnation:
            await self.work.note(step, state=StepState.CANCELLED, detail="the index was deleted or renamed")
            return
        self._active.add(step.number)
        try:
            async with self._moving(index):
                await self._advance(index, step)
        except Stopped:
            pass
        except IndexNotFound:
            await self.work.note(self.steps[step.number], state=StepState.CANCELLED, detail="the index was deleted")
        except MiroirError as error:
            await self.work.note(self.steps[step.number], error=error.message)
        finally:
            self._active.discard(step.number)

    async def _advance(self, index: Index, step: StepRecord) -> None:
        if not step.state.switched:
            await self.work.breathe()
            if step.target is not None:
                step = await Move(self.work, index, step).run()
                self._switched = time.monotonic()
            elif await self._leave(index, step):
                step = await self.work.note(step, state=StepState.FORGETTING, error=None)
            else:
                reason = "too few replicas would be left in sync"
                await self.work.note(step, state=StepState.CANCELLED, detail=reason, error=reason)
                return
        if step.state is StepState.FORGETTING:
            self.forgetting.add(index, step)

    async def _leave(self, index: Index, step: StepRecord) -> bool:
        """Take a replica out of service that nothing replaces."""
        assert step.leaving is not None
        named = any(node.name == step.leaving for node in self.cluster.topology.nodes)
        keep = max(1, self.cluster.topology.cluster.min_in_sync) if named else 1
        async with self.cluster.locks.order(index.uid):
            left = await self.cluster.store.leave(index, step.shard, step.leaving, keep=keep)
        if left:
            self.work.moved(index.uid)
        return left

    @asynccontextmanager
    async def _moving(self, index: Index) -> AsyncIterator[None]:
        """The lock by which a deletion of the index waits for its moves; one for all steps of the index."""
        self._holders[index.uid] = self._holders.get(index.uid, 0) + 1
        turn = self._turns.setdefault(index.uid, asyncio.Lock())
        try:
            async with turn:
                if index.uid not in self._held:
                    stack = AsyncExitStack()
                    await stack.enter_async_context(self.cluster.locks.moves(index.uid))
                    self._held[index.uid] = stack
            yield
        finally:
            self._holders[index.uid] -= 1
            if not self._holders[index.uid] and index.uid in self._held:
                await self._held.pop(index.uid).aclose()

    async def _undo(self) -> None:
        """Cancel what has not switched, and take away what it has brought to its targets."""
        self.work.stop.clear()
        for step in [each for each in self.steps.values() if not each.state.ended]:
            if step.state.switched:
                continue
            index = self._indexes.get(step.index)
            if index is not None and step.target is not None and step.state is not StepState.PENDING:
                await undo(self.work, index, step)
            await self.work.note(step, state=StepState.CANCELLED)
        await clear_leftovers(self.work)
        for step in [each for each in self.steps.values() if each.state is StepState.FORGETTING]:
            await self.work.note(step, state=StepState.DONE)


def _next(waiting: Sequence[StepRecord], active: Iterable[StepRecord]) -> StepRecord | None:
    """The next step that may begin: a replica that nothing replaces stays until its shard's copies are through."""
    copying = {(step.index, step.shard) for step in (*waiting, *active) if step.target is not None}
    for step in waiting:
        if step.target is not None or (step.index, step.shard) not in copying:
            return step
    return None


async def clear_leftovers(work: Work) -> None:
    """Delete what replicas on their way out still have on nodes that answer; the others wait for the next run."""
    for index in await work.cluster.store.indexes():
        map = await work.cluster.current(index)
        leaving: dict[NodeName, list[ShardId]] = {}
        for replica in map.replicas:
            if replica.state is ReplicaState.LEAVING:
                leaving.setdefault(replica.node, []).append(replica.shard)
        for node, shards in leaving.items():
            with suppress(MiroirError):
                await forget_shards(work, index, node, shards)

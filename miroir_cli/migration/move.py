"""The way of one replica: join, prepare, read, mend and compare, switch, and later forget.

Source: protocol section 3 (rules M1 to M7). Every part can be repeated; what was begun is begun anew from the join, and
what the target has already costs only the comparison.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import Locked, MiroirError, NodeRefusal, NodeUnavailable, ShardUnavailable, TemporaryError
from miroir_cli.indexes.nodes import prepare_index, settings_of, wrong_settings
from miroir_cli.migration.attempt import Attempt, Spoilt, new_nonce
from miroir_cli.migration.aware import until_aware
from miroir_cli.migration.compare import Difference, as_written, compare
from miroir_cli.migration.side import Limit, Side, together
from miroir_cli.migration.source import find_source
from miroir_cli.model import Json, NodeName, ReplicaState
from miroir_cli.replication.members import confirm, take_in
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle_until
from miroir_cli.store.journal import MOVER_PREFIX, StepRecord, StepState

if TYPE_CHECKING:
    from miroir_cli.migration.work import Work
    from miroir_cli.model import Index
    from miroir_cli.store.journal import Mover

FEW_KEYS: Final = 500
MOST_KEYS: Final = 2000
"""Keys written since the last comparison: few enough to try to switch, and the most that are compared while writers
wait."""

LONGEST_QUIET: Final = 1.0
"""Seconds to wait for a moment without writes on their way before writers are held up."""

SEND_BYTES: Final = 2 << 20
"""Documents that differ are gathered to so many bytes: a node's batches cost the same however small they are."""

QUICK_TRIES: Final = 3
SHORT_TRIES: Final = 3
LONGER_PAUSE: Final = 5
"""Tries to switch in a quiet moment; then tries that hold writers up for `max_pause` at most; then it is up to so many
times as long, for a move must come to its end even where nodes take seconds for every write."""

RETRY_FIRST: Final = 0.2
RETRY_LONGEST: Final = 10.0
POLL: Final = 0.02


@dataclass(kw_only=True)
class Copy:
    """What one attempt knows: but for the keys in `unsure` everything up to the intent `cut` is equal, unless a task of
    the target after `mark` that is not this attempt's has changed it. The first mark is the newest task at the
    join."""

    attempt: Attempt
    target: Side
    source: Side
    limit: Limit
    settings: Json
    mark: int
    cut: int = -1
    unsure: frozenset[str] = frozenset()


class Move:
    """One COPY step of a run, on its way."""

    def __init__(self, work: Work, index: Index, step: StepRecord) -> None:
        assert step.target is not None
        self.work = work
        self.cluster = work.cluster
        self.index = index
        self.step = step
        self.target: NodeName = step.target
        self._copied = 0
        self._under_way = 0

    async def run(self) -> StepRecord:
        """Fill the target and switch to it; what is left to do then is to forget the replica that it replaces.

        Raises `Stopped` at a clean place, `IndexNotFound` when the index is deleted, and the last trouble when
        nothing has helped for the run's `retry_for` seconds.
        """
        pause, deadline = RETRY_FIRST, time.monotonic() + self.work.retry_for
        while True:
            await self.work.breathe()
            began = time.monotonic()
            try:
                await self.work.unless_stopped(self._attempt())
                return self.step
            except Spoilt as spoilt:
                if spoilt.doubtful:
                    self.work.fences.doubt(self.target)
                trouble: MiroirError = NodeUnavailable(spoilt.reason, node=self.target, sent=True)
            except (TemporaryError, NodeRefusal, Locked) as error:
                trouble = error
            if time.monotonic() - began > self.work.retry_for:
                deadline = time.monotonic() + self.work.retry_for  # it got somewhere
            await self._note(detail=trouble.message)
            if time.monotonic() + pause > deadline:
                raise trouble
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_LONGEST)

    async def _attempt(self) -> None:
        copy = await self._join()
        if copy is None:
            await self._leave()
            await self._switched()
            return
        await self._note(state=StepState.COPYING)
        await self._compare_all(copy)
        few = await self._catch_up(copy)
        await self._note(state=StepState.SWITCHING)
        tries = 0
        while not (few and await self._try_switch(copy, tries=tries)):
            tries += few
            await self.work.breathe()
            few = await self._catch_up(copy)
        await self._switched()

    async def _leave(self) -> None:
        """The target serves although this step has not switched it, or did not live to see it: what it replaces goes,
        if it is not gone."""
        if self.step.leaving is None:
            return
        keep = max(1, self.cluster.topology.cluster.min_in_sync)
        async with self.cluster.locks.order(self.index.uid):
            left = await self.cluster.store.leave(self.index, self.step.shard, self.step.leaving, keep=keep)
        if not left:
            raise ShardUnavailable(
                f"shard {self.step.shard} of index `{self.index.uid}` would have too few replicas in sync without the "
                f"one on `{self.step.leaving}`"
            )

    async def _note(self, *, detail: str = "", **changes: object) -> None:
        self.step = await self.work.note(self.step, detail=detail, **changes)

    async def _switched(self) -> None:
        state = StepState.DONE if self.step.leaving is None else StepState.FORGETTING
        await self._note(state=state)
        self.work.moved(self.index.uid)

    # 1 and 2: join, prepare

    async def _join(self) -> Copy | None:
        """The replica is joining and everything from before has reached both sides; None when it serves already."""
        client = self.cluster.fleet.clients.get(self.target)
        if client is None:
            raise NodeUnavailable(f"node `{self.target}` is not in the topology file", node=self.target, sent=False)
        await self._note(state=StepState.JOINING)
        async with self.work.turn(self.index.uid, self.target):
            await take_in(self.cluster, client)
        await self.work.fences.pass_(self.index, self.step.shard, self.target)
        if not await confirm(self.cluster, client):
            raise NodeUnavailable(f"node `{self.target}` has lost its disk", node=self.target, sent=False)
        if await self._lost_there():
            await until_aware(self.work, waits=lambda why: self._note(detail=why))
        async with self.work.turn(self.index.uid, self.target):
            settings = await prepare_index(self.cluster, self.index, client)
        limit = Limit()
        target = Side(client, self.index, self.step.shard, limit=limit)
        attempt = Attempt(
            cluster=self.cluster,
            index=self.index,
            client=client,
            nonce=new_nonce(),
            limit=limit,
            report=self._indexed,
        )
        async with self.cluster.locks.order(self.index.uid):
            await recover(self.cluster, self.index)
            top = await target.top_task()
            newest, was = await self.cluster.store.join(
                self.index, self.step.shard, self.target, nonce=attempt.nonce, top=top
            )
        if was is ReplicaState.SERVING:
            return None
        await settle_until(self.cluster, self.index, newest)
        movers = (await self.cluster.store.pending(self.index)).movers
        await target.wait_until_idle(
            top,
            timeout=self.work.retry_for * 10,
            matters=lambda task: not self._elsewhere(_nonce(task), movers),
        )
        source = await find_source(self.cluster, self.index, self.step.shard, limit=limit)
        return Copy(attempt=attempt, target=target, source=source, limit=limit, settings=settings, mark=top)

    async def _lost_there(self) -> bool:
        """Whether the target has lost what it had of the index: then somebody's memory may still have it serve, and is
        short as soon as the index is there again."""
        map = await self.cluster.current(self.index)
        return any(each.node == self.target and each.state is ReplicaState.LOST for each in map.replicas)

    def _indexed(self, documents: int) -> None:
        self._copied += documents
        self.work.report(replace(self.step, copied=self.step.copied + self._copied))

    # 3 and 4: read, mend and compare

    async def _compare_all(self, copy: Copy) -> None:
        """Compare the whole shard and write what differs to the target."""
        copy.cut = await self._cut()
        wanted, found = await together([copy.source.keys(), copy.target.keys()])
        await self._require_source(copy)
        copy.unsure = (await self._mend(copy, wanted | found)).keys

    async def _catch_up(self, copy: Copy) -> bool:
        """Compare what was written since the cut, and what was not equal before, outside the lock, in rounds: until
        little is left, or as much as the round before has found because writers are that quick. Whether it is little
        enough to be compared while they wait."""
        before: int | None = None
        while True:
            compared = await self._round(copy)
            if compared <= FEW_KEYS:
                return True
            if before is not None and compared > before / 2:
                return compared <= MOST_KEYS
            before = compared

    async def _round(self, copy: Copy) -> int:
        """One round; how many keys it has compared.

        The next cut comes before the look at what was written: a write that is settled between the two would be behind
        the one and not in the other.
        """
        copy.mark, _ = await self._known_tasks(copy)
        cut = await self._cut()
        changes = await self.cluster.store.changes(self.index.uid, self.step.shard, above=copy.cut)
        if changes.sweep:
            await self._compare_all(copy)
            return len(copy.unsure)
        keys = changes.keys | copy.unsure
        copy.unsure = (await self._mend(copy, keys)).keys
        copy.cut = cut
        return len(keys)

    async def _cut(self) -> int:
        """How far all is settled. The target's queue needs no waiting: what it held of this shard at the join has run,
        and since then only this attempt adds to it, which waits for what it has sent."""
        await self.work.settle(self.index)
        return (await self.cluster.store.pending(self.index)).settled

    async def _mend(self, copy: Copy, keys: frozenset[str]) -> Difference:
        """Compare these keys and write what differs to the target; what differed."""
        pages: list[Difference] = []
        bodies: list[bytes] = []
        try:
            for wanted in copy.source.key_pages(keys):
                await self._breathe(copy)
                expected, found = await together([copy.source.documents(wanted), copy.target.documents(wanted)])
                page = compare(expected, found)
                if page:
                    pages.append(page)
                bodies += [as_written(expected[key]) for key in sorted(page.missing | page.different)]
                if sum(map(len, bodies)) >= SEND_BYTES:
                    await self._send(copy, bodies)
                    bodies = []
            if bodies:
                await self._send(copy, bodies)
            differed = Difference.union(pages)
            if differed.extra:
                await self._require_source(copy)
                await copy.attempt.delete(sorted(differed.extra))
            await copy.attempt.wait()
        finally:
            await self._give_back()
        if differed:
            await self._note(copied=self.step.copied + self._copied)
            self._copied = 0
        return differed

    async def _send(self, copy: Copy, bodies: Sequence[bytes]) -> None:
        await self._make_room(copy, bodies)
        await copy.attempt.add(bodies)

    async def _breathe(self, copy: Copy) -> None:
        """A clean place, unless writers are held up: those wait neither for a pause to end nor for the run's rate."""
        if copy.limit.until is None:
            await self.work.breathe()

    async def _make_room(self, copy: Copy, bodies: Sequence[bytes]) -> None:
        """Wait until these documents may be sent."""
        if copy.limit.until is not None:
            return
        await self.work.throttle(len(bodies))
        size = sum(map(len, bodies))
        if not self.work.try_take(size):
            await copy.attempt.wait()
            await self._give_back()
            await self.work.take(size)
        self._under_way += size

    async def _give_back(self) -> None:
        size, self._under_way = self._under_way, 0
        await self.work.give_back(size)

    async def _require_source(self, copy: Copy) -> None:
        """Make sure that the source is in sync and its disk the one we know: nothing is taken from an empty one."""
        async with asyncio.timeout_at(copy.limit.until):
            known = await confirm(self.cluster, copy.source.client)
        if not known:
            raise Spoilt(f"node `{copy.source.client.name}` has lost its disk")
        map = await self.cluster.current(self.index)
        if copy.source.client.name not in map.in_sync()[self.step.shard]:
            raise Spoilt(f"node `{copy.source.client.name}` is no longer in sync")

    # 5: switch

    async def _try_switch(self, copy: Copy, *, tries: int) -> bool:
        """Hold the writers, compare what is left, and switch; False to let them go on and catch up first.

        All that can be asked before is asked before. The first tries are for a moment in which nothing of this shard
        is on its way, and hold nobody up for longer than it takes to see that there is none. Then writers are held
        while the nodes get through with what they have sent: for longer than the run's `max_pause` only when that was
        too short several times.
        """
        patient = tries >= QUICK_TRIES
        await self._quiet()
        await self._round(copy)
        await self._require_settings(copy)
        async with self.work.switching(self.index.uid), self.cluster.locks.order(self.index.uid):
            began = time.monotonic()
            longer = min(LONGER_PAUSE, max(1, tries - QUICK_TRIES - SHORT_TRIES + 1))
            copy.limit.until = began + self.work.max_pause * longer
            try:
                switched = await self._switch_locked(copy, patient=patient)
            except TimeoutError:
                switched = False
            except NodeUnavailable:
                if not copy.limit.passed:
                    raise
                switched = False  # a question was given up because writers wait
            finally:
                copy.limit.until = None
                held = time.monotonic() - began
                self.work.pauses.append(held)
        if switched:
            await self._note(pause=held)
        return switched

    async def _quiet(self) -> None:
        """Wait outside the lock for a moment without writes of this shard on their way; imports make way. Not for long:
        the lock is tried all the same."""
        end = time.monotonic() + LONGEST_QUIET
        while await self._on_their_way() and time.monotonic() < end:
            await self.work.breathe()
            await asyncio.sleep(POLL)
            await self.work.settle(self.index)

    async def _on_their_way(self) -> bool:
        """Whether there are writes of the shard that are not settled. Those of other shards do not matter to it."""
        pending = await self.cluster.store.pending(self.index)
        return any(self.step.shard in intent.shards for intent in pending.intents)

    async def _switch_locked(self, copy: Copy, *, patient: bool) -> bool:
        await recover(self.cluster, self.index)
        newest = (await self.cluster.store.pending(self.index)).newest
        while await self._on_their_way():
            if copy.limit.passed or not patient:
                return False
            await self.work.settle(self.index)
            await asyncio.sleep(POLL)
        changes = await self.cluster.store.changes(self.index.uid, self.step.shard, above=copy.cut, most=MOST_KEYS)
        keys = changes.keys | copy.unsure
        if changes.sweep or len(keys) > MOST_KEYS:
            return False
        if not patient and not await self._equal(copy, keys):
            return False
        while patient and await self._mend(copy, keys):
            if copy.limit.passed:
                return False
        async with asyncio.timeout_at(copy.limit.until):
            base = await self._audit(copy)
        if await settings_of(self.cluster, self.index) != copy.settings:
            raise Spoilt(f"the settings of index `{self.index.uid}` were changed meanwhile")
        marked = await self.cluster.store.switch(
            self.index,
            self.step.shard,
            self.target,
            nonce=copy.attempt.nonce,
            source=copy.source.client.name,
            leaving=self.step.leaving,
            newest=newest,
            base=base,
        )
        if marked is None:
            raise Spoilt(f"shard {self.step.shard} changed while it was switched")
        return True

    async def _equal(self, copy: Copy, keys: frozenset[str]) -> bool:
        """Whether both sides have the same documents of these keys."""
        for wanted in copy.source.key_pages(keys):
            expected, found = await together([copy.source.documents(wanted), copy.target.documents(wanted)])
            if compare(expected, found):
                return False
        return True

    async def _require_settings(self, copy: Copy) -> None:
        """Make sure that the target has the settings that it was given; the audit sees it if they are changed later."""
        wrong = await wrong_settings(self.cluster, self.index, copy.target.client)
        if wrong:
            raise Spoilt(f"node `{self.target}` has another `{wrong[0]}` than index `{self.index.uid}`")

    async def _audit(self, copy: Copy) -> int:
        """Make sure that since the join nobody but this attempt has touched the shard on the target; the first task
        uid that is the writers'."""
        copy.mark, stranger = await self._known_tasks(copy)
        if stranger is not None:
            raise Spoilt(f"task {stranger} on node `{self.target}` is not of this run")
        return copy.mark + 1

    async def _known_tasks(self, copy: Copy) -> tuple[int, int | None]:
        """The target's newest task up to which all are this attempt's, or cannot concern the shard; and the one behind
        it that is not, if there is one. Outside the lock that may be a write that is being recorded just now."""
        uid, known = self.index.uid, copy.mark
        tasks = await copy.target.tasks_above(known)
        own = await self.cluster.store.accounted(uid, self.target, above=known)
        movers = (await self.cluster.store.pending(uid)).movers
        for task in tasks:
            nonce = _nonce(task)
            if not (nonce == copy.attempt.nonce or self._elsewhere(nonce, movers) or task["uid"] in own):
                return known, int(task["uid"])
            known = int(task["uid"])
        return known, None

    def _elsewhere(self, nonce: str | None, movers: Mapping[str, Mover]) -> bool:
        """Whether it is the nonce of an attempt at other shards only."""
        other = movers.get(nonce) if nonce is not None else None
        return other is not None and self.step.shard not in other.shards


def _nonce(task: Mapping[str, Any]) -> str | None:
    """The nonce of the attempt that a task belongs to; None for tasks of others."""
    metadata = str(task.get("customMetadata") or "")
    return metadata.removeprefix(MOVER_PREFIX) if metadata.startswith(MOVER_PREFIX) else None


async def undo(work: Work, index: Index, step: StepRecord) -> None:
    """Give up a step that has not switched: its target is what it was, or on its way out."""
    assert step.target is not None
    async with work.cluster.locks.order(index.uid):
        await work.cluster.store.unjoin(index, step.shard, step.target)

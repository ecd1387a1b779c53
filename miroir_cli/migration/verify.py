"""Comparing the in-sync replicas of every shard, document by document, while writers go on.

What differs at first sight may only be a write on its way: it counts when it still differs after everything recorded
has settled, and for good when it does so with the writers held up for a moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from miroir_cli.documents.route import shard_of
from miroir_cli.errors import Interrupted, MiroirError, NodeUnavailable
from miroir_cli.indexes.nodes import wrong_settings
from miroir_cli.migration.compare import Difference, compare
from miroir_cli.migration.side import Limit, Side, together
from miroir_cli.migration.work import MAX_PAUSE
from miroir_cli.model import Index, IndexMap, IndexUid, NodeName, ShardId
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle, settle_until
from miroir_cli.store.journal import RunId, RunKind, RunRecord, RunState, StepRecord, StepState, Wanted
from miroir_cli.store.processes import this_process

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

PARALLEL: Final = 4
SAMPLES: Final = 999_983
"""A prime: which keys a sample takes has nothing to do with their shards."""

MOST_HELD: Final = 2000
"""Keys that are looked at again while writers wait."""

OLDEST: Final = 24 * 3_600_000
"""Milliseconds after which an interrupted verification is not gone on with: what it has seen may have changed."""

SHOWN_KEYS: Final = 1000
"""Keys of a difference that are kept; the rest is only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """`sample`: the share of keys to compare (1.0: all), the same ones on every run. `rate`: documents a second."""

    sample: float = 1.0
    rate: int | None = None
    parallel: int = PARALLEL
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDifference:
    """How a node's replica differs from the one on `reference`, both in sync."""

    index: IndexUid
    shard: ShardId
    node: NodeName
    reference: NodeName
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    different: tuple[str, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        return frozenset((*self.missing, *self.extra, *self.different))

    def json(self) -> dict[str, Any]:
        """The contract with scripts."""
        return {
            "index": self.index,
            "shard": self.shard,
            "node": self.node,
            "reference": self.reference,
            "missing": list(self.missing),
            "extra": list(self.extra),
            "different": list(self.different),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a comparison found. `shards` were compared, `skipped` not, with the reason; `settings` names for each index
    and node the settings that are not the index's."""

    shards: int
    documents: int
    seconds: float
    differences: tuple[ShardDifference, ...] = ()
    settings: Mapping[str, Mapping[NodeName, tuple[str, ...]]] = field(default_factory=dict)
    skipped: tuple[tuple[str, ShardId, str], ...] = ()
    resumed: bool = False

    @property
    def clean(self) -> bool:
        return not self.differences and not self.settings

    def json(self) -> dict[str, Any]:
        """The contract with scripts."""
        return {
            "shards": self.shards,
            "documents": self.documents,
            "seconds": round(self.seconds, 3),
            "differences": [each.json() for each in self.differences],
            "settings": [
                {"index": uid, "node": node, "settings": list(names)}
                for uid, nodes in self.settings.items()
                for node, names in nodes.items()
            ],
            "skipped": [{"index": uid, "shard": shard, "reason": reason} for uid, shard, reason in self.skipped],
            "resumed": self.resumed,
        }


class Found(msgspec.Struct):
    """What is kept of a compared shard in its step, so that a verification can go on after a kill."""

    differences: list[ShardDifference] = []
    skipped: str | None = None

    @classmethod
    def of(cls, step: StepRecord) -> Found:
        """What a step of a verification has found."""
        return msgspec.json.decode(step.error or "{}", type=cls)


async def verify(
    cluster: Cluster,
    *,
    indexes: Sequence[str] | None = None,
    options: VerifyOptions | None = None,
    report: Callable[[int, int | None], None] = lambda documents, expected: None,
) -> Verification:
    """Compare all in-sync replicas with one another, and every node's settings with the index's.

    Shards compared by an interrupted verification of the same kind are not compared again. `report` is told the
    documents compared so far. Raises `Locked` while another process verifies.
    """
    options = options or VerifyOptions()
    began = time.monotonic()
    names = sorted(indexes) if indexes is not None else [index.uid for index in await cluster.store.indexes()]
    maps = [await cluster.reload(uid) for uid in names]
    async with cluster.locks.once("verify"):
        run, resumed = await _open(cluster, maps, options)
        checker = _Checker(cluster, run, options, report)
        await checker.run_all(maps)
        settings = await _compare_settings(cluster, maps)
        steps = await cluster.store.steps(run.id)
        found = [(step, Found.of(step)) for step in steps]
        result = Verification(
            shards=sum(kept.skipped is None for _, kept in found),
            documents=sum(step.copied for step in steps),
            seconds=time.monotonic() - began,
            differences=tuple(difference for _, kept in found for difference in kept.differences),
            settings=settings,
            skipped=tuple((step.index, step.shard, kept.skipped) for step, kept in found if kept.skipped),
            resumed=resumed,
        )
        summary = {
            "shards": result.shards,
            "documents": result.documents,
            "differences": len(result.differences),
            "seconds": round(result.seconds, 3),
        }
        await cluster.store.save_run(run.id, state=RunState.DONE, summary=summary)
    return result


async def _open(cluster: Cluster, maps: Sequence[IndexMap], options: VerifyOptions) -> tuple[RunRecord, bool]:
    """The verification to go on with, or a new one with a step for every shard."""
    wish = _wish(maps, options)
    while (run := await cluster.store.unfinished_run(RunKind.VERIFY)) is not None:
        fresh = abs(time.time_ns() // 1_000_000 - run.started_at) < OLDEST  # the clock may have been set back
        if run.fingerprint == wish and fresh and not options.restart:
            return await cluster.store.adopt_run(run.id, process=this_process(), command=cluster.command), True
        await cluster.store.save_run(run.id, state=RunState.CANCELLED)
    shards = [(map.index, ShardId(shard)) for map in maps for shard in range(map.index.shards)]
    steps = [
        StepRecord(number=number, index=index.uid, incarnation=index.incarnation, shard=shard)
        for number, (index, shard) in enumerate(shards, start=1)
    ]
    record = RunRecord(
        id=RunId(0),
        kind=RunKind.VERIFY,
        title="verify",
        state=RunState.RUNNING,
        wanted=Wanted.GO,
        parallel=options.parallel,
        rate=options.rate,
        process=this_process(),
        command=cluster.command,
        fingerprint=wish,
        started_at=0,
    )
    return await cluster.store.begin_run(record, steps), False


def _wish(maps: Iterable[IndexMap], options: VerifyOptions) -> str:
    wish = [[[map.index.uid, map.index.incarnation] for map in maps], options.sample]
    return hashlib.sha256(msgspec.json.encode(wish)).hexdigest()[:16]


async def _compare_settings(cluster: Cluster, maps: Sequence[IndexMap]) -> dict[str, dict[NodeName, tuple[str, ...]]]:
    """For each index the nodes with in-sync replicas whose settings are not those of the index."""
    found: dict[str, dict[NodeName, tuple[str, ...]]] = {}
    for map in maps:
        serving = {name for names in map.in_sync().values() for name in names if name in cluster.fleet}
        wrong = await cluster.fleet.each(
            lambda client, index=map.index: wrong_settings(cluster, index, client),  # type: ignore[misc]
            names=sorted(serving),
        )
        bad = {name: tuple(keys) for name, keys in wrong.items() if not isinstance(keys, MiroirError) and keys}
        if bad:
            found[map.index.uid] = bad
    return found


class _Checker:
    """Compares the shards of one verification, some at a time."""

    def __init__(
        self,
        cluster: Cluster,
        run: RunRecord,
        options: VerifyOptions,
        report: Callable[[int, int | None], None],
    ) -> None:
        self.cluster = cluster
        self.run = run
        self.options = options
        self.report = report
        self.documents = 0
        self._next = 0.0

    async def run_all(self, maps: Sequence[IndexMap]) -> None:
        """Compare what has not been compared. A cancellation leaves the run to be gone on with."""
        indexes = {map.index.uid: map.index for map in maps}
        steps = await self.cluster.store.steps(self.run.id)
        self.documents = sum(step.copied for step in steps)
        waiting = [step for step in steps if not step.state.ended]

        async def worker() -> None:
            while waiting:
                await self._step(indexes[waiting[0].index], waiting.pop(0))

        try:
            await together(worker() for _ in range(self.options.parallel))
        except asyncio.CancelledError:
            raise Interrupted("interrupted", hint="run `miroir verify` again: it goes on from there") from None

    async def _step(self, index: Index, step: StepRecord) -> None:
        kept, documents = Found(), 0
        try:
            kept.differences, documents = await self._compare(index, step.shard)
        except MiroirError as error:
            kept.skipped = error.message
        text = msgspec.json.encode(kept).decode() if kept.differences or kept.skipped else None
        ended = replace(step, state=StepState.DONE, copied=documents, error=text)
        await self.cluster.store.save_step(self.run.id, ended)

    async def _compare(self, index: Index, shard: ShardId) -> tuple[list[ShardDifference], int]:
        map = await self.cluster.current(index)
        names = [name for name in map.in_sync()[shard] if name in self.cluster.fleet]
        limit = Limit()
        sides = [Side(self.cluster.fleet[name], index, shard, limit=limit) for name in names]
        if not sides:
            raise MiroirError("no replica is in sync")
        await settle(self.cluster, index)
        listed = await together(side.keys() for side in sides)
        everything = frozenset().union(*listed)
        keys = self._sampled(everything)
        if len(sides) == 1:
            self._count(len(keys))
            return [], len(keys)
        found = await self._differences(sides, keys)
        if found:
            found = await self._settled(index, sides, found)
        if found:
            found = await self._held(index, sides, found)
        still = (await self.cluster.current(index)).in_sync()[shard]
        return [
            _named(index, shard, name, names[0], difference)
            for name, difference in found.items()
            if name in still and names[0] in still
        ], len(keys)

    def _sampled(self, keys: frozenset[str]) -> frozenset[str]:
        if self.options.sample >= 1.0:
            return keys
        bound = self.options.sample * SAMPLES
        return frozenset(key for key in keys if shard_of(key, SAMPLES) < bound)

    async def _differences(self, sides: Sequence[Side], keys: Iterable[str]) -> dict[NodeName, Difference]:
        """How each side but the first differs from the first, for these keys."""
        parts: dict[NodeName, list[Difference]] = {side.client.name: [] for side in sides[1:]}
        for page in sides[0].key_pages(keys):
            if sides[0].limit.until is None:
                await self._throttle(len(page))
            first, *others = await together(side.documents(page) for side in sides)
            for side, documents in zip(sides[1:], others, strict=True):
                parts[side.client.name].append(compare(first, documents))
            self._count(len(page))
        found = {name: Difference.union(differences) for name, differences in parts.items()}
        return {name: difference for name, difference in found.items() if difference}

    async def _settled(
        self, index: Index, sides: Sequence[Side], found: Mapping[NodeName, Difference]
    ) -> dict[NodeName, Difference]:
        """What still differs when everything recorded so far has reached the replicas."""
        await settle_until(self.cluster, index, (await self.cluster.store.pending(index)).newest)
        return await self._again(sides, found)

    async def _held(
        self, index: Index, sides: Sequence[Side], found: Mapping[NodeName, Difference]
    ) -> dict[NodeName, Difference]:
        """What differs while nobody writes; what differed before if that is too much to read in the meantime, or if the
        nodes cannot be had still."""
        if sum(len(difference.keys) for difference in found.values()) > MOST_HELD:
            return dict(found)
        async with self.cluster.locks.order(index.uid):
            await recover(self.cluster, index)
            until = time.monotonic() + MAX_PAUSE
            newest = (await self.cluster.store.pending(index)).newest
            while (await settle(self.cluster, index)).settled < newest:
                if time.monotonic() > until:
                    return dict(found)
                await asyncio.sleep(0.02)
            sides[0].limit.until = until
            try:
                return await self._again(sides, found)
            except NodeUnavailable:
                return dict(found)
            finally:
                sides[0].limit.until = None

    async def _again(self, sides: Sequence[Side], found: Mapping[NodeName, Difference]) -> dict[NodeName, Difference]:
        keys = frozenset().union(*(difference.keys for difference in found.values()))
        counted = self.documents
        again = await self._differences(sides, keys)
        self.documents = counted
        return again

    async def _throttle(self, documents: int) -> None:
        if not self.options.rate:
            return
        now = time.monotonic()
        if self._next > now:
            await asyncio.sleep(self._next - now)
        self._next = max(now, self._next) + documents / self.options.rate

    def _count(self, documents: int) -> None:
        self.documents += documents
        self.report(self.documents, None)


def _named(
    index: Index, shard: ShardId, node: NodeName, reference: NodeName, difference: Difference
) -> ShardDifference:
    return ShardDifference(
        index=index.uid,
        shard=shard,
        node=node,
        reference=reference,
        missing=tuple(sorted(difference.missing)[:SHOWN_KEYS]),
        extra=tuple(sorted(difference.extra)[:SHOWN_KEYS]),
        different=tuple(sorted(difference.different)[:SHOWN_KEYS]),
    )

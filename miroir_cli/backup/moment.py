"""A shard's documents as of one moment, read while writers go on: a move whose target is no node.

Source: protocol section 3, rules M1 to M5 without what concerns the target. The shard is watched: from then on intents
name the keys that they write to it. How far all is settled then is the cut; the keys are listed in one answer, which is
one snapshot, and the documents fetched by their keys. Keys written since the cut are read again in rounds until few are
left, and the last of them with the writers held up for a moment in which nothing of the shard is on its way. What was
read then is what the shard held at that moment: after all writes up to the newest intent, and before any later one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from miroir_cli.errors import IndexRenamed, Locked, MiroirError, NodeRefusal, NodeUnavailable, TemporaryError
from miroir_cli.migration.attempt import new_nonce
from miroir_cli.migration.compare import as_written
from miroir_cli.migration.side import Limit
from miroir_cli.migration.source import find_source
from miroir_cli.migration.work import MAX_PAUSE
from miroir_cli.model import SHARD_FIELD, Index, NodeName, ShardId, spell_shard
from miroir_cli.replication.members import confirm, roll_once
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle, settle_until

if TYPE_CHECKING:
    from miroir_cli.backup.pace import Pace
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.side import Side
    from miroir_cli.model import IndexMap

FEW_KEYS: Final = 500
MOST_KEYS: Final = 2000
"""Keys written since the last reading: few enough to try to end, and the most that are read while writers wait."""

QUICK_TRIES: Final = 3
SHORT_TRIES: Final = 3
LONGER_PAUSE: Final = 5
"""Tries to end in a quiet moment; then tries that hold writers up for a moment; then it is up to so many times as long,
for a backup must come to its end even where nodes take seconds for every write."""

LONGEST_QUIET: Final = 1.0
"""Seconds to wait for a moment without writes of the shard on their way before writers are held up."""

RENEW_EVERY: Final = 60.0
"""Seconds after which the watch is renewed."""

RETRY_FIRST: Final = 0.2
RETRY_LONGEST: Final = 10.0
POLL: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a shard was as it was read: at `at` (milliseconds since 1970), after intent `intent` and before any later
    one, in this epoch, on this node."""

    at: int
    intent: int
    epoch: int
    node: NodeName


class Sink(Protocol):
    """Takes the documents of a shard. What was added under a key counts until that key is dropped."""

    async def begin(self) -> None:
        """Begin anew: nothing that was added counts."""

    async def add(self, documents: Mapping[str, bytes]) -> None:
        """Documents by key, each as JSON without a line break."""

    async def drop(self, keys: Set[str]) -> None:
        """What was added of these keys does not count."""


class ShardReading:
    """One shard on its way into a sink. `report` is told the documents read, how many more each time."""

    def __init__(
        self,
        cluster: Cluster,
        index: Index,
        shard: ShardId,
        sink: Sink,
        *,
        pace: Pace,
        retry_for: float = 60.0,
        report: Callable[[int], None] = lambda documents: None,
    ) -> None:
        self.cluster = cluster
        self.index = index
        self.shard = shard
        self.sink = sink
        self.pace = pace
        self.retry_for = retry_for
        self.report = report
        self._strip = stripper(shard)
        self._keys: set[str] = set()
        self._cut = -1
        self._limit = Limit()
        self._nonce = ""
        self._renewed = 0.0
        self._counted = 0

    async def run(self) -> Moment:
        """Read the shard to its end. Another replica takes over from one that fails.

        Raises the last trouble when nothing has helped for `retry_for` seconds, and `IndexNotFound` when the index is
        deleted.
        """
        await roll_once(self.cluster)
        pause, deadline = RETRY_FIRST, time.monotonic() + self.retry_for
        while True:
            began = time.monotonic()
            try:
                return await self._attempt()
            except IndexRenamed:
                raise
            except (TemporaryError, NodeRefusal, Locked) as error:
                trouble: MiroirError = error
            if time.monotonic() - began > self.retry_for:
                deadline = time.monotonic() + self.retry_for  # it got somewhere
            if time.monotonic() + pause > deadline:
                raise trouble
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_LONGEST)

    async def _attempt(self) -> Moment:
        self._nonce = new_nonce()
        async with self.cluster.locks.order(self.index.uid):
            await recover(self.cluster, self.index)  # a write in doubt would never settle by itself
            newest = await self.cluster.store.watch(self.index, self.shard, nonce=self._nonce)
        self._renewed = time.monotonic()
        try:
            await settle_until(self.cluster, self.index, newest)
            map = await self.cluster.current(self.index)
            source = await find_source(self.cluster, self.index, self.shard, limit=self._limit)
            await self._read_all(source)
            few = await self._catch_up(source)
            tries = 0
            while not few or (moment := await self._try_to_end(source, map, tries=tries)) is None:
                tries += few
                few = await self._catch_up(source)
            return moment
        finally:
            await self.cluster.store.unwatch(self.index, self.shard, nonce=self._nonce)

    # what is read

    async def _read_all(self, source: Side) -> None:
        await self.sink.begin()
        self._keys.clear()
        self.report(-self._counted)
        self._counted = 0
        self._cut = await self._settled()
        keys = await source.keys()
        await self._require(source)
        await self._fetch(source, keys)

    async def _catch_up(self, source: Side) -> bool:
        """Read again what was written since the cut, in rounds: until little is left, or as much as the round before
        because writers are that quick. Whether it is little enough to be read while they wait."""
        before: int | None = None
        while True:
            read = await self._round(source)
            if read <= FEW_KEYS:
                return True
            if before is not None and read > before / 2:
                return read <= MOST_KEYS
            before = read

    async def _round(self, source: Side) -> int:
        """One round; how many keys it has read. The next cut comes before the look at what was written."""
        cut = await self._settled()
        changes = await self.cluster.store.changes(self.index.uid, self.shard, above=self._cut)
        if changes.sweep:
            await self._read_all(source)
            return len(self._keys)
        await self._drop(changes.keys)
        await self._fetch(source, changes.keys)
        self._cut = cut
        return len(changes.keys)

    async def _settled(self) -> int:
        await settle(self.cluster, self.index)
        return (await self.cluster.store.pending(self.index)).settled

    async def _fetch(self, source: Side, keys: frozenset[str]) -> None:
        for page in source.key_pages(keys):
            await self._renew()
            await self.pace.keep(len(page))
            await self._add(await source.documents(page))

    async def _add(self, found: Mapping[str, msgspec.Raw]) -> None:
        await self.sink.add({key: self._strip(as_written(document)) for key, document in found.items()})
        self._keys.update(found)
        self._count(len(found))

    async def _drop(self, keys: Set[str]) -> None:
        gone = keys & self._keys
        if gone:
            await self.sink.drop(gone)
            self._keys -= gone
            self._count(-len(gone))

    def _count(self, documents: int) -> None:
        self._counted += documents
        self.report(documents)

    async def _renew(self) -> None:
        if time.monotonic() - self._renewed > RENEW_EVERY:
            self._renewed = time.monotonic()
            if not await self.cluster.store.renew_watch(self._nonce):
                raise TemporaryError(f"shard {self.shard} of index `{self.index.uid}` was not watched all the time")

    async def _require(self, source: Side) -> None:
        """Make sure that the keys were not listed on an empty disk."""
        if not await confirm(self.cluster, source.client):
            raise TemporaryError(f"node `{source.client.name}` has lost its disk")

    # the end

    async def _try_to_end(self, source: Side, map: IndexMap, *, tries: int) -> Moment | None:
        """Hold the writers and read what is left; None to let them go on and catch up first.

        The first tries are for a moment in which nothing of this shard is on its way. Then writers are held while the
        nodes get through with what they have sent.
        """
        await self._quiet()
        await self._round(source)
        async with self.cluster.locks.order(self.index.uid):
            longer = min(LONGER_PAUSE, max(1, tries - QUICK_TRIES - SHORT_TRIES + 1))
            self._limit.until = time.monotonic() + MAX_PAUSE * longer
            try:
                ended = await self._end(source, map, patient=tries >= QUICK_TRIES)
            except NodeUnavailable:
                if not self._limit.passed:
                    raise
                return None  # a question was given up because writers wait
            finally:
                self._limit.until = None
        if ended is None:
            return None
        moment, keys, found = ended
        await self._drop(keys)
        await self._add(found)
        return moment

    async def _end(
        self, source: Side, map: IndexMap, *, patient: bool
    ) -> tuple[Moment, frozenset[str], dict[str, msgspec.Raw]] | None:
        """The last keys and their documents, with the order lock held."""
        await recover(self.cluster, self.index)
        newest = (await self.cluster.store.pending(self.index)).newest
        while await self._on_their_way():
            if self._limit.passed or not patient:
                return None
            await settle(self.cluster, self.index)
            await asyncio.sleep(POLL)
        changes = await self.cluster.store.changes(self.index.uid, self.shard, above=self._cut, most=MOST_KEYS)
        if changes.sweep or len(changes.keys) > MOST_KEYS:
            return None
        found: dict[str, msgspec.Raw] = {}
        for page in source.key_pages(changes.keys):
            found |= await source.documents(page)
        count = await source.count()
        name = source.client.name
        still = await self.cluster.store.is_still(
            self.index, self.shard, nonce=self._nonce, source=name, newest=newest
        ) and await self.cluster.still_valid(map, {name: (self.shard,)})
        if not still:
            raise TemporaryError(f"shard {self.shard} of index `{self.index.uid}` changed hands while it was read")
        if count != len((self._keys - changes.keys) | found.keys()):
            raise TemporaryError(f"shard {self.shard} of index `{self.index.uid}` was written past the cluster")
        epoch = await self.cluster.store.epoch()
        moment = Moment(at=time.time_ns() // 1_000_000, intent=newest, epoch=epoch, node=name)
        return moment, changes.keys, found

    async def _quiet(self) -> None:
        """Wait outside the lock for a moment without writes of this shard on their way. Not for long."""
        end = time.monotonic() + LONGEST_QUIET
        while await self._on_their_way() and time.monotonic() < end:
            await asyncio.sleep(POLL)
            await settle(self.cluster, self.index)

    async def _on_their_way(self) -> bool:
        pending = await self.cluster.store.pending(self.index)
        return any(self.shard in intent.shards for intent in pending.intents)


def stripper(shard: ShardId) -> Callable[[bytes], bytes]:
    """What takes the reserved field out of a shard's document without reading the rest of it."""
    field = f'"{SHARD_FIELD}":"{spell_shard(shard)}"'.encode()
    first, later = b"{" + field + b",", b"," + field
    name = f'"{SHARD_FIELD}"'.encode()

    def strip(document: bytes) -> bytes:
        if document.startswith(first):
            return b"{" + document[len(first) :]
        if document.count(name) == 1 and later in document:
            return document.replace(later, b"", 1)
        return without_field(document)

    return strip


def without_field(document: bytes) -> bytes:
    """The same for a document that holds the name elsewhere as well."""
    fields = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    fields.pop(SHARD_FIELD, None)
    return msgspec.json.encode(fields)

"""Names of indexes: two change places, or one gets another, for all readers and writers at one moment.

The nodes are not asked: what they hold keeps the name that it has there (`Index.stored_as`). The state store gives the
new names in one transaction, in which nothing of these indexes is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from miroir_cli.errors import AlreadyExists, Locked, UsageError
from miroir_cli.indexes.catalog import clear_up, require_uid
from miroir_cli.model import Index, IndexUid
from miroir_cli.replication.members import publish, roll_once
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle, settle_until
from miroir_cli.store.aliases import name_taken
from miroir_cli.store.journal import KEPT_RUNS, RunState
from miroir_cli.store.locks import import_file
from miroir_cli.store.records import Renaming

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.store.journal import RunRecord
    from miroir_cli.store.records import ImportRecord

LONGEST_HOLD: Final = 1.8
"""Seconds for which writers of the indexes are held up at once, while the nodes get through with what they have."""

POLL: Final = 0.02
RETRY: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """What is to become of two names: they change places, or with `rename` the first index gets the second name, which
    no index has."""

    first: str
    second: str
    rename: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Objections:
    """Why names cannot be given: those that stand for nothing, and those that are taken, with who was to get them."""

    missing: tuple[str, ...] = ()
    taken: tuple[Swap, ...] = ()


def objections(swaps: Sequence[Swap], existing: Iterable[str]) -> Objections:
    """What is wrong with swaps where these indexes exist; nothing is done when anything is."""
    here = frozenset(existing)
    needed = {swap.first for swap in swaps} | {swap.second for swap in swaps if not swap.rename}
    return Objections(
        missing=tuple(sorted(needed - here)),
        taken=tuple(swap for swap in swaps if swap.rename and swap.second in here),
    )


async def check_swaps(cluster: Cluster, swaps: Sequence[Swap]) -> Mapping[IndexUid, Index]:
    """The indexes that swaps are about, by their names. Raises `IndexNotFound` and `AlreadyExists`, and `UsageError`
    for what cannot be the uid of an index, for an index and itself, and for an alias."""
    for swap in swaps:
        if swap.rename:
            require_uid(swap.second)
        elif swap.first == swap.second:
            raise UsageError(f"`{swap.first}` cannot change places with itself", hint="name two indexes")
    existing = {index.uid: index for index in await cluster.store.indexes()}
    found = objections(swaps, existing)
    if found.missing:
        raise await cluster.not_found(found.missing[0])
    if found.taken:
        taken = found.taken[0]
        raise AlreadyExists(
            f"index `{taken.first}` cannot be renamed to `{taken.second}`: that exists already",
            hint=f"`miroir index swap {taken.first} {taken.second}` lets them change places",
        )
    for swap in swaps:
        alias = await cluster.store.alias(swap.second)
        if alias is not None:
            raise name_taken(alias)
    named = {uid for swap in swaps for uid in (swap.first, swap.second)}
    return {uid: index for uid, index in existing.items() if uid in named}


async def swap_indexes(cluster: Cluster, swaps: Sequence[Swap]) -> int:
    """Give indexes their new names, all of them or none; the epoch from which on they have them.

    Each name may be in one swap only. Waits until what is under way with them has ended, as long as for a lock. Raises
    what `check_swaps` raises, `Locked` naming who moves them or imports into them, and `WriteUnknown` when a write is
    in doubt.
    """
    await check_swaps(cluster, swaps)
    await roll_once(cluster)
    deadline = time.monotonic() + cluster.locks.timeout
    while True:
        try:
            epoch = await _attempt(cluster, swaps, deadline=deadline)
            break
        except Locked:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(RETRY)
    for uid in sorted(_names(swaps)):
        await publish(cluster, uid)
    return epoch


async def _attempt(cluster: Cluster, swaps: Sequence[Swap], *, deadline: float) -> int:
    """Raises `Locked` while something is under way."""
    for index in (await check_swaps(cluster, swaps)).values():
        newest = (await cluster.store.pending(index)).newest
        await settle_until(cluster, index, newest, timeout=max(1.0, deadline - time.monotonic()))
    async with _held(cluster, swaps):
        indexes = await check_swaps(cluster, swaps)
        for uid in sorted(_names(swaps) - indexes.keys()):
            await clear_up(cluster, uid)
        await _come_to_rest(cluster, indexes.values())
        held = frozenset(lock.name for lock in await cluster.locks.held())
        return await cluster.store.rename(
            Renaming(pairs=tuple((IndexUid(swap.first), IndexUid(swap.second)) for swap in swaps), indexes=indexes),
            is_driven=await _drivers(cluster),
            is_running=_is_running_in(held),
        )


def _names(swaps: Sequence[Swap]) -> frozenset[str]:
    return frozenset(uid for swap in swaps for uid in (swap.first, swap.second))


@asynccontextmanager
async def _held(cluster: Cluster, swaps: Sequence[Swap]) -> AsyncIterator[None]:
    """All locks of the names, in an order that is everybody's: nobody moves, creates, deletes or writes meanwhile."""
    async with AsyncExitStack() as stack:
        for uid in sorted(_names(swaps)):
            await stack.enter_async_context(cluster.locks.moves(uid))
        for uid in sorted(_names(swaps)):
            await stack.enter_async_context(cluster.locks.order(uid))
        yield


async def _come_to_rest(cluster: Cluster, indexes: Iterable[Index]) -> None:
    """Wait until every write has ended, with the order locks held: not for long. Raises `Locked` when that is not
    enough and writers must go on first."""
    until = time.monotonic() + LONGEST_HOLD
    for index in indexes:
        await recover(cluster, index)
        newest = (await cluster.store.pending(index)).newest
        while (await settle(cluster, index)).settled < newest:
            if time.monotonic() > until:
                raise Locked(
                    f"index `{index.uid}` is written so quickly that no moment without writes was found",
                    hint="run the command again in a moment",
                )
            await asyncio.sleep(POLL)


async def _drivers(cluster: Cluster) -> Callable[[RunRecord], bool]:
    """Whether a process is at work on a run. One that has died or was stopped is gone on with under the new names.

    Of a run that was begun after this look, its process is.
    """
    under_way = [run for run in await cluster.store.runs(limit=KEPT_RUNS) if run.state is RunState.RUNNING]
    dead = {run.id for run in under_way if not await cluster.locks.lives(run.process)}
    return lambda run: run.state is RunState.RUNNING and run.id not in dead


def _is_running_in(held: frozenset[str]) -> Callable[[ImportRecord], bool]:
    """Whether a process is at work on an import, by the names of the locks that are held."""

    def is_running(record: ImportRecord) -> bool:
        return import_file(record.uid, record.id) in held

    return is_running

"""Names of indexes: two of them change places, or one gets a free one, in one transaction.

What the nodes hold keeps its name there, and what grows with an index is kept by what it is (`content_key`). The rest,
a few hashes under its uid, goes with it here; its incarnation is a new one, so that whoever began something under the
old name is refused as if the index had been deleted. Other modules see to what they keep of indexes by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from miroir_cli.store.naming import followers
from miroir_cli.store.redis import alias_hashes
from miroir_cli.store.redis.active import newest_number, require_active
from miroir_cli.store.redis.belongings import rename_belongings
from miroir_cli.store.redis.cluster import DELETED, STORED_NAMES, index_hash, raise_epoch
from miroir_cli.store.redis.creation import INCARNATION, UNDER_NAME, left_behind
from miroir_cli.store.redis.imports import read_unfinished
from miroir_cli.store.redis.keys import CLUSTER, key
from miroir_cli.store.redis.maps import INDEXES
from miroir_cli.store.redis.runs import read_open_runs
from miroir_cli.store.redis.task_names import rename_tasks
from miroir_cli.store.refusals import exists_already, is_filled, is_moved, is_written

if TYPE_CHECKING:
    from miroir_cli.model import Index, IndexUid
    from miroir_cli.store.journal import RunRecord
    from miroir_cli.store.records import ImportRecord, Renaming
    from miroir_cli.store.redis.transaction import Transaction


async def rename(
    tx: Transaction,
    renaming: Renaming,
    *,
    is_driven: Callable[[RunRecord], bool],
    is_running: Callable[[ImportRecord], bool],
) -> int:
    """Give indexes their new names, all or none; the epoch from which on they have them. What is raised, and who says
    whether somebody drives a run or an import: `Indexes.rename`."""
    follows, known = followers(renaming), renaming.indexes
    await tx.hashes(key("indexes", uid) for uid in follows)
    for uid in (uid for pair in renaming.pairs for uid in pair):
        if uid in known:
            await require_active(tx, known[uid])
        elif await index_hash(tx, uid):
            raise exists_already(uid)
        else:
            await alias_hashes.require_no_alias(tx, uid)
    for index in known.values():
        await _require_at_rest(tx, index, is_driven=is_driven, is_running=is_running)
    fresh = {uid: await tx.next(INCARNATION) for uid in sorted(known)}
    await rename_belongings(tx, follows, fresh, known)
    await rename_tasks(tx, follows, fresh, known)
    await _move(tx, follows, fresh)
    for first, second in renaming.pairs:
        if second not in known:
            tx.discard(INDEXES, first)
            tx.add(INDEXES, second, 0)
            deleted = await tx.hash(DELETED)
            deleted.pop(second, None)
            deleted[first] = left_behind(first, await tx.next(INCARNATION))
    epoch = await raise_epoch(tx)
    (await tx.hash(CLUSTER))["renamed"] = str(epoch)
    await alias_hashes.follow(tx, renaming.moves, version=epoch)
    return epoch


async def _require_at_rest(
    tx: Transaction, index: Index, *, is_driven: Callable[[RunRecord], bool], is_running: Callable[[ImportRecord], bool]
) -> None:
    """Raise `Locked` while anything is under way that was begun with the index by its name."""
    uid, settled = index.uid, await require_active(tx, index)
    if await newest_number(tx, index, settled) > settled:
        raise is_written(uid)
    for run in await read_open_runs(tx, uid):
        if is_driven(run):
            raise is_moved(uid, run)
    for record in await read_unfinished(tx, uid):
        if is_running(record):
            raise is_filled(uid, record)


async def _move(tx: Transaction, follows: Mapping[IndexUid, IndexUid], fresh: Mapping[IndexUid, int]) -> None:
    """Everything under a name is under the name that follows it."""
    names, *_ = await tx.hashes([STORED_NAMES, *(key(kind, uid) for kind in UNDER_NAME for uid in follows)])
    for kind in UNDER_NAME:
        before = {uid: dict(await tx.hash(key(kind, uid))) for uid in follows}
        for old, new in follows.items():
            (await tx.hash(key(kind, new))).replace(before[old])
    for old, incarnation in fresh.items():
        fields = await index_hash(tx, follows[old])
        fields.update(incarnation=str(incarnation), published="0")
        names[fields["stored_as"]] = follows[old]

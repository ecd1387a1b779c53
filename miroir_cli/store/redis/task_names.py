"""Tasks when indexes get other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from miroir_cli.store.naming import renamed_swaps
from miroir_cli.store.redis.subjects import rename_subjects, subjects_named
from miroir_cli.store.redis.task_changes import read_records, save_task, subjects_of
from miroir_cli.store.redis.task_record import SWAPS

if TYPE_CHECKING:
    from miroir_cli.model import Index, IndexUid
    from miroir_cli.store.redis.transaction import Transaction

SWAPS_AT_ONCE: Final = 1000


async def rename_tasks(
    tx: Transaction,
    follows: Mapping[IndexUid, IndexUid],
    fresh: Mapping[IndexUid, int],
    known: Mapping[IndexUid, Index],
) -> None:
    """As Meilisearch does it: earlier tasks are told as those of the index by its new name, also the swaps among them.

    Work that has not ended is about the names, whatever they stand for when its turn comes. However many tasks there
    are, only their subjects are read and changed, and the tasks that are swaps. `fresh`, `known`: see `names.rename`.
    """
    touching = {
        number
        for name in follows
        for number, subject in (await subjects_named(tx, name)).items()
        if name in subject.touched
    }
    swaps = [int(uid) for uid in await tx.names(SWAPS)]
    for start in range(0, len(swaps), SWAPS_AT_ONCE):
        records = await read_records(tx, swaps[start : start + SWAPS_AT_ONCE])
        subjects = await subjects_of(tx, records)
        for uid, record in records.items():
            if record.subject in touching and not record.waits and record.details is not None:
                after = replace(record, details=renamed_swaps(record.details, follows))
                await save_task(tx, uid, record, after, subjects)
    await rename_subjects(tx, follows, fresh, {uid: index.incarnation for uid, index in known.items()})

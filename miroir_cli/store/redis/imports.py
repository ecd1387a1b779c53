"""Imports and their batches.

`miroir:imports:<id>` is one import, `miroir:imports:_running` names those that are not finished. Its batches are the
fields of `miroir:batches:<id>`: an import has many, so none is read to write another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.journal import KEPT_IMPORTS
from miroir_cli.store.records import BatchRecord, ImportRecord
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.fields import LOWEST
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.values import number, texts

if TYPE_CHECKING:
    from miroir_cli.model import Index, IndexUid, Json
    from miroir_cli.store.redis.fields import Hash
    from miroir_cli.store.redis.transaction import Transaction

IMPORTS: Final = listing("imports")
RUNNING: Final = "miroir:imports:_running"


def _import_of(fields: Mapping[str, str]) -> ImportRecord:
    return ImportRecord(
        id=int(fields["id"]),
        uid=fields["uid"],
        incarnation=int(fields["incarnation"]),
        fingerprint=from_json(fields["fingerprint"]),
        options=from_json(fields["options"]),
        state=fields["state"],
        started_at=int(fields["started_at"]),
        finished_at=number(fields.get("finished_at")),
        summary=from_json(fields["summary"]),
    )


async def begin_import(
    transaction: Transaction, *, uid: str, incarnation: int, fingerprint: Json, options: Json
) -> ImportRecord:
    """Record an import; the oldest finished ones are forgotten."""
    id = await transaction.next("imports")
    fields = {
        "id": id,
        "uid": uid,
        "incarnation": incarnation,
        "fingerprint": to_json(fingerprint),
        "options": to_json(options),
        "state": "running",
        "started_at": now(),
        "summary": {},
    }
    begun = transaction.fresh(key("imports", id))
    begun.update(texts(fields))
    for old in await transaction.hashes(key("imports", name) for name in await _up_to(transaction, id - KEPT_IMPORTS)):
        if "finished_at" in old:
            _drop(transaction, old)
    transaction.add(IMPORTS, str(id), id)
    transaction.add(RUNNING, str(id), id)
    return _import_of(begun)


async def _up_to(transaction: Transaction, highest: float, *, low: float = LOWEST) -> list[str]:
    return [member.name for member in await transaction.ranged(IMPORTS, low=low, high=highest)]


def _drop(transaction: Transaction, record: Hash) -> None:
    id = record["id"]
    transaction.discard(IMPORTS, id)
    transaction.discard(RUNNING, id)
    transaction.also("DEL", key("batches", id))
    record.clear()


async def _all(transaction: Transaction) -> list[Hash]:
    return await transaction.hashes(key("imports", id) for id in await transaction.names(IMPORTS))


async def read_unfinished(transaction: Transaction, uid: str | None) -> tuple[ImportRecord, ...]:
    """The imports that are not finished, into an index if one is named; oldest first."""
    running = await transaction.hashes(key("imports", id) for id in await transaction.names(RUNNING))
    return tuple(_import_of(fields) for fields in running if uid is None or fields["uid"] == uid)


async def finish_import(transaction: Transaction, id: int, *, state: str, summary: Json) -> None:
    record = await transaction.hash(key("imports", id))
    if not record:
        return
    record.update(texts({"state": state, "finished_at": now(), "summary": to_json(summary)}))
    if state == "running":
        transaction.add(RUNNING, str(id), id)
    else:
        transaction.discard(RUNNING, str(id))


async def forget_imports(transaction: Transaction, uid: str) -> None:
    """The index is gone: so are all imports into it."""
    for record in await _all(transaction):
        if record["uid"] == uid:
            _drop(transaction, record)


async def rename_imports(
    transaction: Transaction,
    follows: Mapping[IndexUid, IndexUid],
    fresh: Mapping[IndexUid, int],
    known: Mapping[IndexUid, Index],
) -> None:
    """Every import into a name is one into the name that follows it. Those into the incarnation that a name stands for
    get its `fresh` one; those of its predecessors keep theirs."""
    for record in await _all(transaction):
        uid: Any = record["uid"]
        if uid not in follows:
            continue
        record["uid"] = follows[uid]
        if uid in fresh and int(record["incarnation"]) == known[uid].incarnation:
            record["incarnation"] = str(fresh[uid])


# -- batches


async def save_batch(transaction: Transaction, batch: BatchRecord) -> None:
    """Insert the batch, or replace what was recorded of it. The transaction does not see it afterwards."""
    fields = {
        "source": batch.source,
        "start": batch.start,
        "end": batch.end,
        "first_line": batch.first_line,
        "last_line": batch.last_line,
        "documents": batch.documents,
        "rejected": batch.rejected,
        "intents": {str(n): list(shards) for n, shards in batch.intents.items()},
        "state": batch.state,
    }
    transaction.also("HSET", key("batches", batch.import_id), batch.number, to_json(fields))


async def read_batches(transaction: Transaction, import_id: int) -> tuple[BatchRecord, ...]:
    found = await transaction.hash(key("batches", import_id))
    return tuple(_batch_of(import_id, n, from_json(found[str(n)])) for n in sorted(map(int, found)))


def _batch_of(import_id: int, number: int, fields: dict[str, Any]) -> BatchRecord:
    intents = {int(n): tuple(shards) for n, shards in fields.pop("intents").items()}
    return BatchRecord(import_id=import_id, number=number, intents=intents, **fields)


class Imports(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def begin_import(self, *, uid: str, incarnation: int, fingerprint: Json, options: Json) -> ImportRecord:
        return await self.access.write(
            lambda transaction: begin_import(
                transaction, uid=uid, incarnation=incarnation, fingerprint=fingerprint, options=options
            )
        )

    async def unfinished_imports(self, uid: str | None = None) -> tuple[ImportRecord, ...]:
        return await self.access.read(lambda transaction: read_unfinished(transaction, uid))

    async def finish_import(self, id: int, *, state: str, summary: Json) -> None:
        await self.access.write(lambda transaction: finish_import(transaction, id, state=state, summary=summary))

    async def save_batch(self, batch: BatchRecord) -> None:
        await self.access.write(lambda transaction: save_batch(transaction, batch))

    async def batches(self, import_id: int) -> tuple[BatchRecord, ...]:
        return await self.access.read(lambda transaction: read_batches(transaction, import_id))

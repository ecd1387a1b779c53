"""Intents and their targets: the one order of an index's writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from miroir_cli.model import Index, Intent, IntentState, Json, NodeName, ReplicaState, ShardId, WriteKind
from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.records import Judge, KeysOf, Marked, Pending, Settle, Verdict
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.active import newest_number, require_active
from miroir_cli.store.redis.changes import WATCHES, log_changes
from miroir_cli.store.redis.cluster import (
    index_hash,
    mark,
    raise_top_task,
    read_epoch,
    read_in_sync,
    save_primary_key,
    save_settings,
)
from miroir_cli.store.redis.imports import save_batch
from miroir_cli.store.redis.keys import CLUSTER, content_key, content_of, key
from miroir_cli.store.redis.order import (
    Guess,
    Guesses,
    change_intent,
    foreign_key,
    intent_key,
    intent_of,
    known_key,
    known_member,
    new_fields,
    note_addressed,
    note_known,
    order_key,
    pieces_of,
    read_fields,
)
from miroir_cli.store.redis.pending import read_pending
from miroir_cli.store.redis.slots import require_held, slot_key
from miroir_cli.store.redis.tasks import add_task, lowest_unfinished, require_idle
from miroir_cli.store.redis.transaction import Conflict
from miroir_cli.store.writing import (
    doubtful,
    ended,
    gathered,
    pruned_below,
    require_next,
    require_writable,
    takes_effect,
    targets_of,
)

if TYPE_CHECKING:
    from miroir_cli.store.records import BatchRecord
    from miroir_cli.store.redis.access import Access
    from miroir_cli.store.redis.transaction import Transaction
    from miroir_cli.store.slots import Slot
    from miroir_cli.store.tasks import NewTask

PRUNED_AT_ONCE: Final = 2_000
"""Intents that are forgotten in one transaction, at most."""


async def open_intent(
    tx: Transaction,
    index: Index,
    *,
    kind: WriteKind,
    documents: Mapping[ShardId, int | None],
    nonce: str,
    min_in_sync: int,
    owner: str,
    body: Json | None = None,
    batch: BatchRecord | None = None,
    keys: KeysOf | None = None,
    task: NewTask | None = None,
    slot: Slot | None = None,
) -> Intent:
    """Record the next intent of the index, `open`, with its targets: the replicas in sync at this moment.

    With `batch`, the batch of an import that the intent carries is recorded with it, so that neither is known alone.
    `keys` names what it writes to a shard; it is asked for the shards of which a replica is joining. With `task`, the
    client's task that it stands for is recorded with it, behind all other work of the index: raises `WorkAhead` as
    long as some has not ended.
    """
    content = content_key(index)
    fields, _, order, *_ = await tx.hashes(
        [key("indexes", index.uid), key("placements", index.uid), order_key(content), WATCHES, *_slot_keys(slot)]
    )
    if slot is not None:
        await require_held(tx, slot)
    if task is not None:
        await require_idle(tx, index.uid)
    settled = await require_active(tx, index)
    if kind.changes_documents:
        require_writable(index, key=fields["primary_key"], frozen=fields.get("frozen"))
    targets = targets_of(index.uid, documents, await read_in_sync(tx, index.uid), min_in_sync=min_in_sync)
    intent = Intent(
        uid=index.uid,
        incarnation=index.incarnation,
        n=await newest_number(tx, index, settled) + 1,
        nonce=nonce,
        kind=kind,
        state=IntentState.OPEN,
        targets=targets,
        body=body,
        slot=None if slot is None else slot.mark,
    )
    order["newest"] = str(intent.n)
    order.setdefault("oldest", str(intent.n))
    tx.fresh(intent_key(content, intent.n)).update(new_fields(intent, owner=owner, created_at=now()))
    note_addressed(tx, content, (target.node for target in targets), sent=True)
    if kind.changes_documents:
        await log_changes(tx, index, intent.n, documents, keys)
    if batch is not None:
        await save_batch(tx, replace(batch, intents={**batch.intents, intent.n: tuple(sorted(documents))}))
    if task is not None:
        await add_task(tx, task, intent=(index.incarnation, intent.n))
    return intent


def _slot_keys(slot: Slot | None) -> list[str]:
    return [] if slot is None else [slot_key(slot.number)]


# -- reading


async def read_newest(tx: Transaction, uid: str, guesses: Guesses) -> Intent | None:
    """The newest intent of the index of a name."""
    guess = guesses.get(uid)
    ahead = [] if guess is None else [order_key(guess.content), intent_key(guess.content, guess.newest)]
    fields, *_ = await tx.hashes([key("indexes", uid), *ahead])
    if not fields:
        return None
    content = content_of(fields)
    newest = int((await tx.hash(order_key(content))).get("newest", "0"))
    tx.heed_number(content, max(newest, int(fields["settled"])))
    guesses[uid] = Guess(content=content, newest=newest)
    found = await tx.hash(intent_key(content, newest))
    return intent_of(fields, uid, newest, found) if found else None


async def read_intents(tx: Transaction, uid: str, numbers: Iterable[int], guesses: Guesses) -> dict[int, Intent]:
    wanted = sorted(set(numbers))
    if not wanted:
        return {}
    guess = guesses.get(uid)
    ahead = [] if guess is None else [intent_key(guess.content, n) for n in wanted]
    fields, *_ = await tx.hashes([key("indexes", uid), *ahead])
    if not fields:
        return {}
    found = await read_fields(tx, content_of(fields), wanted)
    return {n: intent_of(fields, uid, n, each) for n, each in found.items()}


# -- closing


async def close_intent(tx: Transaction, intent: Intent, judge: Judge, guesses: Guesses) -> tuple[Intent, Marked]:
    """Record how sending an open intent went; the judge sees who is in sync in this very transaction."""
    uid, guess = intent.uid, guesses.get(intent.uid)
    ahead = [] if guess is None else [intent_key(guess.content, intent.n)]
    fields, *_ = await tx.hashes([key("indexes", uid), key("placements", uid), CLUSTER, *ahead])
    found = await tx.hash(intent_key(content_of(fields), intent.n)) if fields else None
    current = intent_of(fields, uid, intent.n, found) if found else None
    if current is None or current.state is not IntentState.OPEN:
        return current or intent, Marked(epoch=await read_epoch(tx))
    verdict = judge(current, await read_in_sync(tx, uid))
    marked = await _apply(tx, content_of(fields), current, verdict)
    return ended(current, verdict), marked


async def _apply(tx: Transaction, content: str, intent: Intent, verdict: Verdict) -> Marked:
    change_intent(tx, content, intent, ended(intent, verdict))
    for node, pieces in verdict.pieces.items():
        for piece in pieces:
            note_known(tx, content, node, piece.task, carries=intent.n)
            await raise_top_task(tx, node, piece.task)
    note_addressed(tx, content, verdict.pieces.keys() - {target.node for target in intent.targets}, sent=True)
    if takes_effect(intent, verdict) and intent.body is not None:
        if intent.kind is WriteKind.PRIMARY_KEY:
            await save_primary_key(tx, intent.uid, intent.body["primaryKey"])
        else:
            await save_settings(tx, intent.uid, intent.body)
    return await mark(tx, intent.uid, verdict.stale, state=ReplicaState.STALE)


# -- settling


async def settle_intents(tx: Transaction, index: Index, judge: Settle) -> tuple[tuple[Intent, ...], Marked]:
    """Settle, strictly in order, the intents that the judge can decide now, and record what nobody had recorded.

    Raises `IndexNotFound` or `IndexRenamed`: what was seen of one index says nothing about another one of its name.
    """
    content = content_key(index)
    pending = await read_pending(tx, index, also=[CLUSTER])
    settlement = judge(pending)
    by_number = {intent.n: intent for intent in pending.intents}
    await _require_unchanged(tx, index, [by_number[each.n] for each in settlement.verdicts if each.n in by_number])
    marks: list[Marked] = []
    done: list[Intent] = []
    settled = pending.settled
    for verdict in settlement.verdicts:
        settled = require_next(verdict, settled)
        marks.append(await _apply(tx, content, by_number[settled], verdict))
        done.append(ended(by_number[settled], verdict))
    if settled > pending.settled:
        (await index_hash(tx, index.uid))["settled"] = str(settled)
        below = pruned_below(settled, before=pending.settled)
        if below is not None:
            await _prune(tx, index, below=below)
    marks.append(await _record_foreign(tx, index, settlement.foreign, pending))
    await _record_looked(tx, index, settlement.looked)
    return tuple(done), Marked(epoch=await read_epoch(tx), stale=gathered(marks))


async def _require_unchanged(tx: Transaction, index: Index, ending: Sequence[Intent]) -> None:
    """What `read_pending` has read of intents is not watched, and those that are open may change: look again at such
    that end all the same."""
    still_open = {intent.n: intent for intent in ending if intent.state is IntentState.OPEN}
    if not still_open:
        return
    fields = await index_hash(tx, index.uid)
    found = await read_fields(tx, content_key(index), still_open)
    if still_open != {n: intent_of(fields, index.uid, n, each) for n, each in found.items()}:
        raise Conflict


async def _prune(tx: Transaction, index: Index, *, below: int) -> None:
    """Forget settled intents, but none of which a client's task has not ended."""
    content = content_key(index)
    order = await tx.hash(order_key(content))
    oldest = int(order.get("oldest", "1"))
    if below <= oldest:
        return
    needed = await lowest_unfinished(tx, index.uid)
    below = min(oldest + PRUNED_AT_ONCE, below if needed is None else min(below, needed))
    for n, fields in (await read_fields(tx, content, range(oldest, below), watch=False)).items():
        tx.also("UNLINK", intent_key(content, n))
        for node, task in pieces_of(fields):
            tx.discard(known_key(content, node), known_member(task, n))
    order["oldest"] = str(max(oldest, below))


async def _record_foreign(
    tx: Transaction,
    index: Index,
    foreign: Mapping[NodeName, Mapping[int, frozenset[ShardId] | None]],
    pending: Pending,
) -> Marked:
    """Replicas that a task nobody recorded may have changed are stale; on the last in-sync one it is accepted."""
    content = content_key(index)
    for node, found in foreign.items():
        for task in found:
            tx.add(foreign_key(content, node), str(task), task)
            await raise_top_task(tx, node, task)
    note_addressed(tx, content, foreign, sent=False)
    return await mark(tx, index.uid, doubtful(foreign, pending.in_sync), state=ReplicaState.STALE)


async def _record_looked(tx: Transaction, index: Index, looked: Mapping[NodeName, int]) -> None:
    lanes = await tx.hash(key("lanes", index.uid))
    for node, task in looked.items():
        if node in lanes:
            lane = from_json(lanes[node])
            lanes[node] = to_json({**lane, "looked": max(lane["looked"], task)})


# -- the methods


class Intents(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._guesses: Guesses = {}

    async def open_intent(
        self,
        index: Index,
        *,
        kind: WriteKind,
        documents: Mapping[ShardId, int | None],
        nonce: str,
        min_in_sync: int,
        owner: str,
        body: Json | None = None,
        batch: BatchRecord | None = None,
        keys: KeysOf | None = None,
        task: NewTask | None = None,
        slot: Slot | None = None,
    ) -> Intent:
        opened = await self.access.write(
            lambda tx: open_intent(
                tx,
                index,
                kind=kind,
                documents=documents,
                nonce=nonce,
                min_in_sync=min_in_sync,
                owner=owner,
                body=body,
                batch=batch,
                keys=keys,
                task=task,
                slot=slot,
            )
        )
        self.access.known.learn_number(content_key(index), opened.n)
        self._guesses[index.uid] = Guess(content=content_key(index), newest=opened.n)
        return opened

    async def newest_intent(self, uid: str) -> Intent | None:
        return await self.access.read(lambda tx: read_newest(tx, uid, self._guesses))

    async def intents(self, uid: str, numbers: Iterable[int]) -> dict[int, Intent]:
        wanted = tuple(numbers)
        return await self.access.read(lambda tx: read_intents(tx, uid, wanted, self._guesses))

    async def close_intent(self, intent: Intent, judge: Judge) -> tuple[Intent, Marked]:
        return await self.access.write(lambda tx: close_intent(tx, intent, judge, self._guesses))

    async def pending(self, index: str | Index) -> Pending:
        guess = self._guesses.get(index) if isinstance(index, str) else None
        return await self.access.read(lambda tx: read_pending(tx, index, guess=guess))

    async def settle_intents(self, index: Index, judge: Settle) -> tuple[tuple[Intent, ...], Marked]:
        return await self.access.write(lambda tx: settle_intents(tx, index, judge))

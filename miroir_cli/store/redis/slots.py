"""Slots: `miroir:slots:<n>` has state (held or dirty), owner, key, since, nodes and fenced of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from miroir_cli.model import NodeName
from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.journal import Process
from miroir_cli.store.redis.keys import CLUSTER, key, listing
from miroir_cli.store.redis.signature import Signature, read_signature, sign
from miroir_cli.store.slots import Slot, SlotSpoilt, holder_in, key_of

if TYPE_CHECKING:
    from miroir_cli.store.redis.access import Access
    from miroir_cli.store.redis.transaction import Transaction

Result = TypeVar("Result")

SLOTS: Final = listing("slots")

COUNTER: Final = "slot"

HELD: Final = "held"
DIRTY: Final = "dirty"


def slot_key(number: int | str) -> str:
    return key("slots", number)


async def require_held(tx: Transaction, slot: Slot) -> None:
    """Raise `SlotSpoilt` when something is begun under a slot that others may shut out, or have. It is watched."""
    if (await tx.hash(slot_key(slot.number))).get("state") != HELD:
        raise SlotSpoilt


class Slots:
    """The protocol `miroir_cli.store.slots.SlotRegister` over Redis, for one holder."""

    def __init__(self, access: Access, *, command: str) -> None:
        self._access = access
        self._owner = sign(command)
        self.holder = _signature(self._owner).nonce

    async def take(self, nodes: Iterable[NodeName]) -> Slot:
        names = frozenset(nodes)
        return await self._access.write(lambda tx: take(tx, self._owner, names))

    async def extend(self, slot: Slot, nodes: Iterable[NodeName]) -> None:
        names = frozenset(nodes)
        await self._access.write(lambda tx: extend(tx, slot, names))

    async def is_held(self, slot: Slot) -> bool:
        found = await self._access.read(lambda tx: tx.hash(slot_key(slot.number)))
        return found.get("state") == HELD

    async def spoil(self, slots: Iterable[Slot]) -> None:
        numbers = [slot.number for slot in slots]
        await self._whatever_is_lost(lambda tx: spoil(tx, numbers))

    async def condemn(self, *, overtaken: str | None = None) -> tuple[Slot, ...]:
        return await self._access.write(lambda tx: condemn(tx, overtaken=overtaken, own=self.holder))

    async def pass_(self, fenced: Mapping[NodeName, Iterable[int]]) -> None:
        wanted = {node: frozenset(numbers) for node, numbers in fenced.items()}
        await self._whatever_is_lost(lambda tx: pass_(tx, wanted))

    async def all(self) -> tuple[Slot, ...]:
        return await self._access.read(read_slots)

    async def _whatever_is_lost(self, change: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Write outside of the leases that the caller holds: a process that lost one must be able to say so."""
        return await asyncio.create_task(self._access.write(change), context=Context())


async def take(tx: Transaction, owner: str, nodes: frozenset[NodeName]) -> Slot:
    cluster = await tx.hash(CLUSTER)
    number = await tx.next(COUNTER)
    holder = _signature(owner).nonce
    fields = tx.fresh(slot_key(number))
    fields.update(
        {
            "state": HELD,
            "owner": owner,
            "key": key_of(cluster.get("id", ""), number, holder),
            "since": str(now()),
            "nodes": to_json(sorted(nodes)),
        }
    )
    tx.add(SLOTS, str(number), number)
    return _slot_of(number, fields)


async def extend(tx: Transaction, slot: Slot, nodes: frozenset[NodeName]) -> None:
    await require_held(tx, slot)
    fields = await tx.hash(slot_key(slot.number))
    fields["nodes"] = to_json(sorted(nodes | set(from_json(fields["nodes"]))))


async def spoil(tx: Transaction, numbers: Iterable[int]) -> None:
    for fields in await tx.hashes(map(slot_key, numbers)):
        if fields:
            fields["state"] = DIRTY


async def condemn(tx: Transaction, *, overtaken: str | None, own: str) -> tuple[Slot, ...]:
    holder = None if overtaken is None else holder_in(overtaken)
    found = {int(number): each for number, each in (await _hashes(tx)).items()}
    owners = {number: _signature(each["owner"]) for number, each in found.items()}
    others = {number: who for number, who in owners.items() if who.nonce != own}
    seen = await tx.ask([("GET", key("peers", _process(who))) for who in others.values()], watch=False)
    lapsed = {number for (number, who), there in zip(others.items(), seen, strict=True) if there is None or who.gone}
    for number, fields in found.items():
        if number in lapsed or owners[number].nonce == holder:
            fields["state"] = DIRTY
    slots = [_slot_of(number, fields) for number, fields in found.items()]
    return tuple(slot for slot in slots if slot.dirty)


async def pass_(tx: Transaction, fenced: Mapping[NodeName, frozenset[int]]) -> None:
    numbers = sorted({number for each in fenced.values() for number in each})
    for number, fields in zip(numbers, await tx.hashes(map(slot_key, numbers)), strict=True):
        if not fields or fields["state"] != DIRTY:
            continue
        slot = _slot_of(number, fields)
        done = slot.fenced | {node for node, each in fenced.items() if number in each}
        if replace(slot, fenced=done).left:
            fields["fenced"] = to_json(sorted(done))
        else:
            fields.clear()
            tx.discard(SLOTS, str(number))


async def read_slots(tx: Transaction) -> tuple[Slot, ...]:
    return tuple(_slot_of(int(number), fields) for number, fields in (await _hashes(tx)).items())


async def _hashes(tx: Transaction) -> dict[str, Any]:
    numbers = await tx.names(SLOTS)
    found = await tx.hashes(map(slot_key, numbers))
    return {number: fields for number, fields in zip(numbers, found, strict=True) if fields}


def _slot_of(number: int, fields: Mapping[str, str]) -> Slot:
    who = _signature(fields["owner"])
    return Slot(
        number=number,
        holder=who.nonce,
        key=fields["key"],
        process=_process(who),
        command=who.command,
        since=int(fields["since"]),
        dirty=fields["state"] == DIRTY,
        nodes=frozenset(map(NodeName, from_json(fields["nodes"]))),
        fenced=frozenset(map(NodeName, from_json(fields.get("fenced", "[]")))),
    )


def _process(who: Signature) -> Process:
    return Process(host=who.host, pid=who.pid, born=who.born)


def _signature(owner: str) -> Signature:
    found = read_signature(owner)
    assert found is not None, "written by `sign`"
    return found

"""One process's part in the fences: the slot under which it writes, and the slots that it shuts out."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from miroir_cli.errors import MiroirError
from miroir_cli.fencing.disk import read_disk
from miroir_cli.fencing.keys import NO_KEY, Unmanageable, delete_key, listed, make_key
from miroir_cli.node.carrier import Carried
from miroir_cli.store.slots import SlotSpoilt

if TYPE_CHECKING:
    from miroir_cli.model import NodeName
    from miroir_cli.node.client import NodeClient
    from miroir_cli.node.fleet import Fleet
    from miroir_cli.store.protocol import Store
    from miroir_cli.store.slots import Slot, SlotRegister

CLOSING: Final = 2.0
"""Seconds that a process takes at its end to delete its keys: whoever fences next does it otherwise."""


class Fencing:
    """Takes slots for this process, one at a time and none before the first write; gives requests their keys; shuts
    out others. The protocol `miroir_cli.node.carrier.Carrier`.

    `unfenced`: the nodes of which it has become known that they make no keys for us, with the reason. What is sent to
    them carries their configured key, and a fence there is the grace alone.
    """

    def __init__(self, register: SlotRegister, store: Store, fleet: Fleet, *, answer: float) -> None:
        self.unfenced: dict[NodeName, str] = {}
        self._register = register
        self._store = store
        self._fleet = fleet
        self._answer = answer
        self._taken: dict[int, Slot] = {}
        self._current: Slot | None = None
        self._doubtful: dict[int, Slot] = {}
        self._values: dict[tuple[int, NodeName], str] = {}
        self._taking = asyncio.Lock()
        self._turns: defaultdict[NodeName, asyncio.Lock] = defaultdict(asyncio.Lock)

    # -- the slot of this process

    async def slot(self) -> Slot | None:
        """The slot under which this process may write now; None where no node has keys. Raises `LeaseLost` and
        `StateUnavailable` when it needs a new one and gets none."""
        if self._current is not None:
            return self._current
        async with self._taking:
            if self._current is None:
                names = [name for name, client in self._fleet.clients.items() if client.has_key]
                if not names:
                    return None
                self._current = await self._register.take(names)
                self._taken[self._current.number] = self._current
            return self._current

    def drop(self, slot: Slot | None) -> None:
        """Take another one for what follows: it is dirty already."""
        if slot is not None and self._current is not None and self._current.number == slot.number:
            self._current = None

    async def tell_doubts(self) -> None:
        """Have it recorded that slots of this process are dirty, if that was not possible before."""
        if self._doubtful:
            doubtful = dict(self._doubtful)
            await self._register.spoil(doubtful.values())
            for number in doubtful:
                self._doubtful.pop(number, None)

    # -- the carrier

    async def key_for(self, client: NodeClient) -> Carried | None:
        if client.name in self.unfenced:
            return None
        if not client.has_key:
            self.unfenced[client.name] = NO_KEY
            return None
        slot = await self.slot()
        assert slot is not None, "this node has a key"
        value = self._values.get((slot.number, client.name))
        return Carried(slot.number, value) if value is not None else await self._make(client)

    async def _make(self, client: NodeClient) -> Carried | None:
        """Make the key of the current slot on a node, one at a time.

        The slot is looked at again afterwards: whoever shut it out meanwhile found no key there, and will not come
        again for one that is made behind its back.
        """
        async with self._turns[client.name]:
            while (slot := await self.slot()) is not None:
                value = self._values.get((slot.number, client.name))
                if value is not None:
                    return Carried(slot.number, value)
                try:
                    if client.name not in slot.nodes:
                        await self._register.extend(slot, [client.name])
                    value = await make_key(client, slot, timeout=self._answer)
                    if not await self._register.is_held(slot):
                        await delete_key(client, slot.key, timeout=self._answer)
                        raise SlotSpoilt
                    self._values[slot.number, client.name] = value
                except Unmanageable as reason:
                    self.unfenced[client.name] = str(reason)
                    return None
                except SlotSpoilt:
                    self.drop(slot)
            return None

    async def refused(self, client: NodeClient, carried: Carried) -> bool:
        slot = self._taken[carried.slot]
        try:
            if not await self._register.is_held(slot):
                self.drop(slot)
                return True
            if not await self._same_disk(client):
                return False
        except MiroirError:
            return False
        async with self._turns[client.name]:
            if self._values.get((carried.slot, client.name)) == carried.value:
                del self._values[carried.slot, client.name]
        return True

    async def _same_disk(self, client: NodeClient) -> bool:
        """Whether a node's disk is the one that was enrolled (rule N1): then its keys were deleted by hand."""
        member = (await self._store.members()).get(client.name)
        return member is not None and (await read_disk(client)).is_of(member)

    def give_up(self, carried: Carried) -> None:
        slot = self._taken[carried.slot]
        self._doubtful[slot.number] = slot
        self.drop(slot)

    async def doubt(self, carried: Carried) -> None:
        self.give_up(carried)
        with suppress(MiroirError):
            await self.tell_doubts()

    # -- the fence

    async def shut_out(
        self, fleet: Fleet, names: Iterable[NodeName], *, overtaken: str | None = None
    ) -> tuple[NodeName, ...]:
        """Delete the keys of all dirty slots on these nodes; those on which nothing of theirs is let in any more,
        once what was half read has had its time. `overtaken`: the mark of a slot whose holder was overtaken.

        An unfenced node counts as one: there is nothing but that time.
        """
        wanted = [name for name in names if name in fleet]
        await self.tell_doubts()
        dirty = await self._register.condemn(overtaken=overtaken)
        if any(self._current is not None and slot.number == self._current.number for slot in dirty):
            self._current = None
        return await self._shut_out(fleet, wanted, dirty) if dirty else tuple(wanted)

    async def _shut_out(self, fleet: Fleet, names: Sequence[NodeName], dirty: Sequence[Slot]) -> tuple[NodeName, ...]:
        found = await fleet.each(lambda client: self._delete(client, dirty), names=names)
        passed = {name: numbers for name, numbers in found.items() if not isinstance(numbers, MiroirError)}
        if any(passed.values()):
            await self._register.pass_(passed)
        return tuple(passed)

    async def _delete(self, client: NodeClient, slots: Sequence[Slot]) -> list[int]:
        """The slots whose keys are not on the node, for good. Where nobody may manage keys there are none."""
        here = [slot for slot in slots if client.name in slot.left]
        if client.name not in self.unfenced:
            try:
                for slot in here:
                    await delete_key(client, slot.key, timeout=self._answer)
            except Unmanageable as reason:
                self.unfenced[client.name] = str(reason)
        return [slot.number for slot in here]

    async def tidy(self) -> int:
        """Delete what dead processes have left on the nodes, and what is recorded of nodes that are no more; how many
        keys of slots that nobody knows were deleted.

        Keys are listed before the records are read: whoever makes one has recorded its slot before.
        """
        names = [name for name, client in self._fleet.clients.items() if client.has_key and name not in self.unfenced]
        found = await self._fleet.each(self._listed, names=names)
        await self.shut_out(self._fleet, names)
        slots = await self._register.all()
        gone = {name for slot in slots for name in slot.left if name not in self._fleet}
        if gone:
            await self._register.pass_({name: [slot.number for slot in slots] for name in gone})
        known = {slot.key for slot in slots}
        strangers = {
            name: [uid for uid in uids if uid not in known] for name, uids in found.items() if isinstance(uids, tuple)
        }
        deleted = await self._fleet.each(lambda client: self._clear(client, strangers[client.name]), names=strangers)
        return sum(each for each in deleted.values() if isinstance(each, int))

    async def _listed(self, client: NodeClient) -> tuple[str, ...]:
        try:
            return await listed(client, timeout=self._answer)
        except Unmanageable:
            return ()

    async def _clear(self, client: NodeClient, uids: Sequence[str]) -> int:
        with suppress(Unmanageable):
            for uid in uids:
                await delete_key(client, uid, timeout=self._answer)
        return len(uids)

    # -- the end

    async def close(self) -> None:
        """Shut out this process itself: its keys are deleted, its slots forgotten. A slot whose key could not be
        deleted everywhere stays recorded as dirty."""
        with suppress(MiroirError, TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._give_back()

    async def _give_back(self) -> None:
        if not self._taken:
            return
        await self._register.spoil(self._taken.values())
        self._current = None
        own = [slot for slot in await self._register.all() if slot.holder == self._register.holder]
        await self._shut_out(self._fleet, [name for name in self._fleet if any(name in slot.left for slot in own)], own)

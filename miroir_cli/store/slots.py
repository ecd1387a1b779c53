"""Slots: under which number a process sends to the nodes what changes something, so that it can be shut out.

Every process of a cluster whose state several hosts share takes a slot of its own before its first write. To the slot
belongs an API key on each node, which those writes carry; once that is deleted, nothing that was sent under the slot
can reach the node any more. Numbers are never used again. Source: protocol rules F1 and F2.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from miroir_cli.model import NodeName
    from miroir_cli.store.journal import Process

KEY_PREFIX: Final = "_miroir:"
"""How the names of miroir's own keys on the nodes begin; no client's key is called so."""

_KEYS: Final = uuid.UUID("6f1d1a5e-6a0c-5d0b-9a2e-3c1d8e0b7f42")


class SlotSpoilt(Exception):
    """Nothing may be begun under this slot any more: take another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A slot as it is recorded. `holder` is the same for all slots that one process takes for one cluster; `since`:
    milliseconds since 1970. Its key may be on `nodes`, and is not on those that are `fenced`, for good."""

    number: int
    holder: str
    key: str
    process: Process
    command: str
    since: int
    dirty: bool = False
    nodes: frozenset[NodeName] = field(default_factory=frozenset)
    fenced: frozenset[NodeName] = field(default_factory=frozenset)

    @property
    def mark(self) -> str:
        """What an intent records of it."""
        return f"{self.number}:{self.holder}"

    @property
    def key_name(self) -> str:
        return f"{KEY_PREFIX}slot:{self.number}"

    @property
    def left(self) -> frozenset[NodeName]:
        """The nodes that still may have its key."""
        return self.nodes - self.fenced


def holder_in(mark: str) -> str:
    """The holder of the slot that an intent has recorded."""
    return mark.partition(":")[2]


def key_of(cluster_id: str, number: int, holder: str) -> str:
    """The uid of a slot's key on every node. The holder is in it: a state that was made anew counts anew."""
    return str(uuid.uuid5(_KEYS, f"{cluster_id}:{number}:{holder}"))


class SlotRegister(Protocol):
    """Who has which slot. All methods raise `StateUnavailable` when that cannot be known."""

    @property
    def holder(self) -> str:
        """Whose slots this process takes here."""
        ...

    async def take(self, nodes: Iterable[NodeName]) -> Slot:
        """A new slot of this process, whose key will be on these nodes. Raises `LeaseLost` as every change does."""
        ...

    async def extend(self, slot: Slot, nodes: Iterable[NodeName]) -> None:
        """Record that its key will be on further nodes. Raises `SlotSpoilt`."""
        ...

    async def is_held(self, slot: Slot) -> bool:
        """Whether it is neither dirty nor gone."""
        ...

    async def spoil(self, slots: Iterable[Slot]) -> None:
        """Make slots of this process dirty, whatever leases it has lost."""
        ...

    async def condemn(self, *, overtaken: str | None = None) -> tuple[Slot, ...]:
        """Make dirty what must be: all slots of the holder that is named in this mark, of processes that died, and of
        those that have not renewed anything for as long as a lease lasts. Returns all dirty ones."""
        ...

    async def pass_(self, fenced: Mapping[NodeName, Iterable[int]]) -> None:
        """Record on which nodes the keys of dirty slots are not, and forget those that are shut out everywhere."""
        ...

    async def all(self) -> tuple[Slot, ...]:
        """All that are known, in the order of their numbers."""
        ...

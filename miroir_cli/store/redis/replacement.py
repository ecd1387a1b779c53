"""Replacing the state in Redis as a whole: the old one is put aside and the new one written in one transaction.

What was there goes from `miroir:<key>` to `miroir:aside:<time>:<key>` and is never deleted; `listing("aside", time)`
names the keys. What runs out by itself is deleted. Numbers that were given once are not given again. Whoever replaces
the state must be alone with it (`locks.STATE`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from miroir_cli.store.records import Found
from miroir_cli.store.redis.connection import ASIDE, SCHEMA, prepare
from miroir_cli.store.redis.inventory import NAMED, fleeting_keys, possible_keys
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.maps import read_newest_numbers, read_states
from miroir_cli.store.redis.members import read_cluster, read_members
from miroir_cli.store.redis.rebuild import rebuild
from miroir_cli.store.redis.transaction import COUNTERS

if TYPE_CHECKING:
    from miroir_cli.store.records import Rebuilt
    from miroir_cli.store.redis.access import Access
    from miroir_cli.store.redis.transaction import Transaction

PREFIX: Final = "miroir:"

CALLED: Final = "state in Redis"

AT_ONCE: Final = 1_000
"""Keys that one command names."""


class RedisReplacement:
    """The protocol `miroir_cli.store.protocol.Replacement` over one database of Redis."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._state: Rebuilt | None = None
        self._aside: str | None = None

    async def inspect(self) -> Found:
        """What is there. Raises `StateTooNew`, and `StateUnavailable` when it cannot be reached at all."""
        if await self._access.ask("GET", SCHEMA) is None:
            return Found(exists=False, called=CALLED)
        await prepare(self._access)
        return await self._access.read(_inspect)

    async def build(self, state: Rebuilt) -> None:
        """Have the whole state ready; nothing is written before it takes its place."""
        await prepare(self._access)
        self._state = state

    async def set_aside(self) -> str | None:
        """Choose the name of the old state, with the time in it; None when there is nothing. It has it from the moment
        on at which the new one takes its place."""
        self._aside = await self._access.read(_choose_name)
        return self._aside

    async def take_place(self) -> None:
        """The old state goes aside, and the one that was built is the state, in one step."""
        state, aside = self._state, self._aside
        assert state is not None, "built before"
        lasting = [] if aside is None else await self._access.read(possible_keys)
        fleeting = [] if aside is None else await self._access.read(fleeting_keys)
        await self._access.write(lambda tx: _replace(tx, state, aside=aside, lasting=lasting, fleeting=fleeting))


async def _inspect(tx: Transaction) -> Found:
    return Found(
        cluster=await read_cluster(tx),
        blank=not await read_members(tx) and not await read_states(tx),
        newest=await read_newest_numbers(tx),
        called=CALLED,
    )


async def _choose_name(tx: Transaction) -> str | None:
    (there,) = await tx.ask([("EXISTS", *NAMED)])
    if not there:
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    taken = await tx.names(ASIDE)
    number, name = 1, stamp
    while name in taken:
        number += 1
        name = f"{stamp}-{number}"
    return key("aside", name)


MOVE: Final = """
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    local kept = ARGV[1] .. string.sub(key, ARGV[3])
    redis.call('RENAME', key, kept)
    redis.call('ZADD', ARGV[2], 0, kept)
  end
end
"""
"""Those of the keys that are there get another beginning, and are listed under it. Which are there is not asked before:
Redis takes long to watch that many."""


async def _replace(
    tx: Transaction, state: Rebuilt, *, aside: str | None, lasting: Sequence[str], fleeting: Sequence[str]
) -> None:
    counters = dict(await tx.hash(COUNTERS))
    if aside is not None:
        name = aside.removeprefix(key("aside", ""))
        for keys in _parts(lasting):
            arguments = (f"{aside}:", listing("aside", name), len(PREFIX) + 1)
            tx.take_away(keys, "EVAL", MOVE, len(keys), *keys, *arguments)
        for keys in _parts(fleeting):
            tx.take_away(keys, "UNLINK", *keys)
        tx.add(ASIDE, name, time.time_ns() // 1_000_000)
    await rebuild(tx, state)
    numbers = await tx.hash(COUNTERS)
    for counter, number in counters.items():
        numbers[counter] = str(max(int(number), int(numbers.get(counter, "0"))))


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), AT_ONCE):
        yield keys[start : start + AT_ONCE]

"""Sessions: for each index that a session wrote to, its newest write.

`miroir:sessions:<content>:<session>` is the number of that write, until Redis lets it run out; the key of a session is
the same whatever its index is called (`content_key`). Their listing has each of these keys by the moment at which it
runs out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import now
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.order import order_key
from miroir_cli.store.sessions import KEPT_FOR, LOOK_EVERY, MOST_KEPT

if TYPE_CHECKING:
    from miroir_cli.store.redis.access import Access
    from miroir_cli.store.redis.fields import Command, Member
    from miroir_cli.store.redis.transaction import Transaction

SESSIONS: Final = listing("sessions")

AT_ONCE: Final = 500
"""Sessions that are forgotten in one transaction."""


async def remember(tx: Transaction, session: str, uid: str, n: int, *, incarnation: int | None = None) -> None:
    """Note a write of a session to an index, of this incarnation if one is given; nothing when there is none. What was
    written to one that is called otherwise now was searchable before it got that name."""
    found = await _content(tx, uid)
    if found is None or incarnation not in (None, found[1]):
        return
    own = key("sessions", found[0], session)
    (newest,) = await tx.texts([own])
    tx.put(own, str(max(n, int(newest or 0))), lasting=KEPT_FOR)
    tx.add(SESSIONS, own, now() + KEPT_FOR)
    tx.also("ZREMRANGEBYSCORE", SESSIONS, "-inf", now())


async def forget_oldest(tx: Transaction, *, most: int = MOST_KEPT) -> int:
    """Leave no more than `most`, the newest; how many went. There may be more to forget when there are `AT_ONCE`."""
    (first,) = await tx.ask([("ZREVRANGE", SESSIONS, most, most)], watch=False)
    if not first:
        return 0
    (latest,) = await tx.ask([("ZSCORE", SESSIONS, first[0])], watch=False)
    oldest = await _up_to(tx, latest)
    await tx.texts(member.name for member in oldest)  # from here on it is noticed when one of them writes again
    gone = [member for member in await _up_to(tx, latest) if member in oldest]
    for member in gone:
        tx.put(member.name, None)
        tx.discard(SESSIONS, member.name)
    return len(gone)


async def read_unsettled(tx: Transaction, session: str, uid: str) -> int | None:
    """The newest write of a session to the index as it is now, while it is not settled. Raises `StateUnavailable` when
    Redis has forgotten writes, and perhaps that one."""
    found = await _content(tx, uid)
    if found is None:
        return None
    content, _, settled = found
    own: list[Command] = [("GET", key("sessions", content, session)), ("HGET", order_key(content), "newest")]
    newest, written = await tx.ask(own, watch=False)
    tx.heed_number(content, max(int(written or 0), settled))
    return int(newest) if newest is not None and int(newest) > settled else None


async def _up_to(tx: Transaction, latest: float | None) -> Sequence[Member]:
    if latest is None:
        return ()
    return await tx.ranged(SESSIONS, high=float(latest), limit=AT_ONCE, watch=False)


async def _content(tx: Transaction, uid: str) -> tuple[str, int, int] | None:
    """What the index of a name is, its incarnation, and how far it is settled; None when there is none. How far a
    session is does not depend on what happens to its index meanwhile."""
    fields = ("state", "stored_as", "created_at", "incarnation", "settled")
    (found,) = await tx.ask([("HMGET", key("indexes", uid), *fields)], watch=False)
    state, stored_as, created_at, incarnation, settled = found
    if state != "active":
        return None
    return f"{stored_as}@{created_at}", int(incarnation), int(settled)


class Sessions(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._remembered = 0

    async def remember_session(self, session: str, uid: str, n: int, *, incarnation: int | None = None) -> None:
        await self.access.write(lambda tx: remember(tx, session, uid, n, incarnation=incarnation))
        self._remembered += 1
        if self._remembered % LOOK_EVERY == 1:
            while await self.access.write(forget_oldest) == AT_ONCE:
                pass

    async def session_waits_for(self, session: str, uid: str) -> int | None:
        return await self.access.read(lambda tx: read_unsettled(tx, session, uid))

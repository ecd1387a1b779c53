"""Sessions of admins: hashes `miroir:admin_session:<id>` that expire, and a sorted set of their ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import now
from miroir_cli.store.records_services import AdminSession
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.values import texts

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

SESSIONS: Final = listing("admin_session")
REVOKED: Final = "miroir:admin_session:revoked"
"""The channel on which everybody is told the ids of sessions that were revoked."""


class AdminSessions(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def add_admin_session(self, session: AdminSession) -> None:
        await self.access.write(lambda transaction: add_session(transaction, session))

    async def admin_session(self, session_id: str) -> AdminSession | None:
        return await self.access.read(lambda transaction: read_session(transaction, session_id))

    async def admin_sessions(self) -> tuple[AdminSession, ...]:
        return await self.access.read(read_sessions)

    async def revoke_admin_session(self, session_id: str) -> bool:
        return await self.access.write(lambda transaction: revoke_session(transaction, session_id))


async def add_session(transaction: Transaction, session: AdminSession) -> None:
    """Record a session, which Redis forgets at its end; those that have ended are no longer listed."""
    place = key("admin_session", session.session_id)
    fields = {
        "session_id": session.session_id,
        "csrf_token": session.csrf_token,
        "admin_key_hash": session.admin_key_hash,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "revoked": session.revoked,
        "user_agent": session.user_agent,
        "source_ip": session.source_ip,
    }
    (await transaction.hash(place)).replace(texts(fields))
    transaction.also("ZREMRANGEBYSCORE", SESSIONS, "-inf", now())
    transaction.also("ZADD", SESSIONS, session.expires_at, session.session_id)
    transaction.also("PEXPIREAT", place, session.expires_at)


def _session_of(fields: Mapping[str, str]) -> AdminSession:
    return AdminSession(
        session_id=fields["session_id"],
        csrf_token=fields["csrf_token"],
        admin_key_hash=fields["admin_key_hash"],
        created_at=int(fields["created_at"]),
        expires_at=int(fields["expires_at"]),
        revoked=fields["revoked"] == "1",
        user_agent=fields.get("user_agent"),
        source_ip=fields.get("source_ip"),
    )


async def read_session(transaction: Transaction, session_id: str) -> AdminSession | None:
    found = await transaction.hash(key("admin_session", session_id))
    session = _session_of(found) if found else None
    return session if session is not None and session.expires_at > now() else None


async def read_sessions(transaction: Transaction) -> tuple[AdminSession, ...]:
    listed = await transaction.ranged(SESSIONS, low=now())
    found = await transaction.hashes(key("admin_session", member.name) for member in listed)
    sessions = (_session_of(fields) for fields in found if fields)
    return tuple(session for session in sessions if session.expires_at > now())


async def revoke_session(transaction: Transaction, session_id: str) -> bool:
    if await read_session(transaction, session_id) is None:
        return False
    (await transaction.hash(key("admin_session", session_id)))["revoked"] = "1"
    transaction.also("PUBLISH", REVOKED, session_id)
    return True

"""What the proxy's further services keep: cursors of feeds, tenants, rollover, search pages and sessions of admins.

Times are milliseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class CdcCursor:
    """How far a sink has got the changes of an index: up to this event it has acknowledged them."""

    sink: str
    index_uid: str
    last_event_seq: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Whose requests are those with an API key, of which the SHA-256 is known in hex."""

    api_key_hash: str
    tenant_id: str
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloverPolicy:
    """When an alias gets a new index to write to, what that is like, and when old ones are deleted."""

    name: str
    write_alias: str
    read_alias: str
    pattern: str
    triggers: Json
    retention: Json
    template: Json
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchUiConfig:
    """How the search page of an index looks."""

    index_uid: str
    config: Json
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSession:
    """A session of somebody who has shown the admin key. A `revoked` one is known until it would have ended."""

    session_id: str
    csrf_token: str
    admin_key_hash: str
    created_at: int
    expires_at: int
    revoked: bool = False
    user_agent: str | None = None
    source_ip: str | None = None

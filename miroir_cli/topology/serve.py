"""The `[serve]` table of the topology file: how the proxy listens and what it allows itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.model import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Times are in seconds, sizes in the unit that the name says.

    `in_flight` requests are worked on at once in each worker; `queue` more wait, the rest is refused. `key` is the
    master key that clients use (None: that of the nodes), `admin_key` the one of `/_miroir/`.
    """

    host: str = "127.0.0.1"
    port: int = 7700
    workers: int = 1
    in_flight: int = 64
    queue: int = 1000
    body_limit_mb: int = 100
    connections: int = 16_384
    header_timeout: float = 10.0
    body_timeout: float = 60.0
    idle_timeout: float = 75.0
    stop_timeout: float = 30.0
    adaptive: bool = True
    hedge: bool = True
    coalesce: bool = True
    sessions: bool = True
    heal: bool = True
    verify_every: float = 0.0
    access_log: bool = True
    key: Secret | None = None
    admin_key: Secret | None = None

"""What a server that keeps the state says of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAside:
    """An old state that a new one has taken the place of: its keys begin with `name`. `at`: seconds since 1970."""

    name: str
    keys: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStanding:
    """Bytes, and seconds. What the server does not tell is None: managed ones often hide their configuration.

    `primary`: the address of the server that this one is a replica of. `policy`: what is done when the memory is full,
    `evicted`: keys that were thrown away for it. `appendonly`, `appendfsync`: whether, and when, what is written goes
    to the disk; `writes_fail`: whether the last time it did not. `latency`: the shortest of some small questions.
    `aside`: the oldest first.
    """

    version: str
    primary: str | None = None
    replicas: int = 0
    policy: str | None = None
    used_memory: int = 0
    max_memory: int = 0
    evicted: int = 0
    appendonly: bool | None = None
    appendfsync: str | None = None
    writes_fail: bool = False
    latency: float = 0.0
    aside: tuple[KeptAside, ...] = ()


def standing_of(
    info: Mapping[str, Any], config: Mapping[str, str], *, latency: float, aside: Iterable[KeptAside] = ()
) -> ServerStanding:
    """From the answers to INFO and, where it is allowed, CONFIG GET."""
    primary = None
    if info.get("role") == "slave":
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
    failing = ("aof_last_write_status", "rdb_last_bgsave_status")
    enabled = info.get("aof_enabled")
    return ServerStanding(
        version=str(info.get("valkey_version") or info.get("redis_version") or "?"),
        primary=primary,
        replicas=int(info.get("connected_slaves", 0)),
        policy=config.get("maxmemory-policy") or info.get("maxmemory_policy"),
        used_memory=int(info.get("used_memory", 0)),
        max_memory=int(info.get("maxmemory", 0)),
        evicted=int(info.get("evicted_keys", 0)),
        appendonly=None if enabled is None else bool(int(enabled)),
        appendfsync=config.get("appendfsync"),
        writes_fail=any(info.get(name, "ok") != "ok" for name in failing),
        latency=latency,
        aside=tuple(aside),
    )

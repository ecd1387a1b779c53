"""Who may do what: every caller is checked here, and the nodes are spoken to with the cluster's own keys.

An exact answer needs questions that a client's search key may not put to a node, and one path serves nodes that share a
master key and nodes that do not. The keys are kept in the state store, without their values: a value follows from a
key's uid and the master key. Nodes that have the same master key are given the same keys, so that a client may speak
to one of them as well, and so that a new state store finds them again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import ApiError, MiroirError
from miroir_cli.proxy import node_keys
from miroir_cli.proxy.access import Caller, KnownKey, Rules, invalid_key, missing_header, missing_master_key
from miroir_cli.proxy.actions import BY_TENANT_TOKEN, OF_KEYS
from miroir_cli.proxy.key_bodies import changed, created, default_keys, moment, shown, written
from miroir_cli.proxy.master import first_keys, judge_master
from miroir_cli.proxy.tokens import read_token, require_no_reserved_names, verify
from miroir_cli.topology.keys import value_of

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import NodeName
    from miroir_cli.proxy.master import Master
    from miroir_cli.store.records import ApiKey

ANYBODY = Caller(name="anybody")
"""Who asks for what is open to all."""

LOG = logging.getLogger("miroir.serve")

FRESH = 0.5
"""Seconds after which the keys are read from the store again: what another process revoked is refused from then on."""

TOKENS_KEPT = 1024
"""Tenant tokens whose signature was verified and need not be again."""


@dataclass(slots=True)
class _Known:
    """The keys of one reading of the store, found by a digest of their values that nobody else can compute."""

    records: tuple[ApiKey, ...]
    by_digest: Mapping[bytes, KnownKey]
    by_uid: Mapping[str, KnownKey]
    tokens: OrderedDict[bytes, tuple[KnownKey, Rules, int | None]] = field(default_factory=OrderedDict)


class Keyring:
    """Knows the callers. `own`: the clients' master key; None: it is that of the nodes."""

    def __init__(self, cluster: Cluster, *, own: str | None = None) -> None:
        self._cluster = cluster
        self._own = own
        self._salt = secrets.token_bytes(32)
        self._master: Master | None = None
        self._master_digest = b""
        self._known: _Known | None = None
        self._until = 0.0
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    # -- callers

    async def caller(self, headers: Mapping[str, str], action: str | None, uid: str | None) -> Caller:
        """Who sends these headers. Raises Meilisearch's errors for one who may not do `action` (None: it is open to
        all), on the index that the address names."""
        if action is None:
            return ANYBODY
        given, arrived = _token_of(headers), time.monotonic()
        known = await self._fresh()
        now = time.time()
        if self._master is None or self._master.key is None:
            if action in OF_KEYS:
                raise missing_master_key()
            return Caller(name="anybody", unguarded=True)
        if given is None:
            raise missing_header()
        digest = self._digest(given)
        if hmac.compare_digest(digest, self._master_digest):
            return Caller()
        caller = self._among(known, given, digest, action, now)
        if caller is None:  # another process may have made the key a moment ago
            caller = self._among(await self._fresh(since=arrived), given, digest, action, now)
        if caller is None:
            raise invalid_key()
        caller.require(action, uid)
        return caller

    def _among(self, known: _Known, given: str, digest: bytes, action: str, now: float) -> Caller | None:
        found = self._of_token(given, digest, known, now) if action in BY_TENANT_TOKEN else None
        if found is not None:
            key, rules = found
            return Caller(name=f"token {digest.hex()}", key=key, rules=rules, now=now)
        own = known.by_digest.get(digest)
        return None if own is None else Caller(name=f"key {own.record.uid}", key=own, now=now)

    def _digest(self, given: str) -> bytes:
        return hashlib.blake2b(given.encode("utf-8", "surrogateescape"), key=self._salt, digest_size=16).digest()

    def _of_token(self, given: str, digest: bytes, known: _Known, now: float) -> tuple[KnownKey, Rules] | None:
        """The key and the rules of a tenant token; None for what is no token, or one of a key that is not known."""
        kept = known.tokens.get(digest)
        if kept is not None and (kept[2] is None or int(now) <= kept[2]):
            known.tokens.move_to_end(digest)
            return kept[0], kept[1]
        token = read_token(given)
        if token is None:
            return None
        assert self._master is not None and self._master.key is not None
        verify(token, value=value_of(token.key_uid, self._master.key), now=now)
        key = known.by_uid.get(token.key_uid)
        if key is None:
            return None
        require_no_reserved_names(token.rules)
        known.tokens[digest] = (key, token.rules, token.ends)
        if len(known.tokens) > TOKENS_KEPT:
            known.tokens.popitem(last=False)
        return key, token.rules

    # -- the keys

    async def listed(self) -> list[dict[str, Any]]:
        """All keys as Meilisearch shows them, the newest first."""
        master = await self._master_key()
        return [shown(key, value_of(key.uid, master)) for key in (await self._reread()).records]

    async def get(self, uid_or_value: str) -> dict[str, Any]:
        """One key. Raises Meilisearch's error for one that is not there."""
        key = await self._find(uid_or_value)
        return shown(key, value_of(key.uid, await self._master_key()))

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key; it is good at once."""
        master = await self._master_key()
        key = created(body, now=written(time.time_ns()))
        if not await self._cluster.store.add_api_key(key):
            raise ApiError("api_key_already_exists", f"`uid` field value `{key.uid}` is already an existing API key.")
        self._until = 0.0
        await self._on_nodes(lambda client: node_keys.put(client, key))
        return shown(key, value_of(key.uid, master))

    async def change(self, uid_or_value: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Give a key another name or description."""
        key = changed(await self._find(uid_or_value), body, now=written(time.time_ns()))
        if not await self._cluster.store.save_api_key(key):
            raise _not_found(uid_or_value)
        self._until = 0.0
        await self._on_nodes(lambda client: node_keys.rename(client, key))
        return shown(key, value_of(key.uid, await self._master_key()))

    async def delete(self, uid_or_value: str) -> None:
        """Delete a key: refused from now on in this process, within half a second in others."""
        key = await self._find(uid_or_value)
        if not await self._cluster.store.save_api_key(replace(key, deleted=True, updated_at=written(time.time_ns()))):
            raise _not_found(uid_or_value)
        self._until = 0.0
        await self._on_nodes(lambda client: node_keys.remove(client, key.uid))

    async def mend(self) -> int:
        """Make the keys of the nodes that share the master key those of the cluster; how many were put right.

        Keys that the cluster never had, such as those that each node began with, stay as they are.
        """
        await self._fresh()
        records = await self._cluster.store.api_keys()
        found = await self._cluster.fleet.each(lambda client: node_keys.mend(client, records), names=self._sharing())
        return sum(each for each in found.values() if isinstance(each, int))

    async def _find(self, uid_or_value: str) -> ApiKey:
        known = await self._reread()
        found = known.by_uid.get(_as_uid(uid_or_value)) or known.by_digest.get(self._digest(uid_or_value))
        if found is None:
            raise _not_found(uid_or_value)
        return found.record

    async def _on_nodes(self, call: Any) -> None:
        """Do the same on all nodes with this master key. One that fails gets it from `mend`."""
        found = await self._cluster.fleet.each(call, names=self._sharing())
        for name, error in found.items():
            if isinstance(error, MiroirError):
                LOG.warning("an API key was not changed on a node", extra={"node": name, "reason": error.message})

    def _sharing(self) -> list[NodeName]:
        shared = self._master.shared_by if self._master is not None else ()
        return [name for name in shared if name in self._cluster.fleet]

    # -- what is known

    async def _master_key(self) -> str:
        await self._fresh()
        if self._master is None or self._master.key is None:
            raise missing_master_key()
        return self._master.key

    async def _reread(self) -> _Known:
        self._until = 0.0
        return await self._fresh()

    async def _fresh(self, *, since: float | None = None) -> _Known:
        """The keys as they were half a second ago or later, or (`since`) at this moment of the clock or later."""
        if self._known is not None and self._is_fresh(since):
            return self._known
        async with self._lock:
            if self._known is not None and self._is_fresh(since):
                return self._known
            if self._master is None:
                await self._begin()
            read_at = time.monotonic()
            records = tuple(key for key in await self._cluster.store.api_keys() if not key.deleted)
            if self._known is None or records != self._known.records:
                self._known = self._index(records)
            self._read_at = read_at
            self._until = read_at + FRESH
            return self._known

    def _is_fresh(self, since: float | None) -> bool:
        return time.monotonic() < self._until if since is None else self._read_at >= since

    def _index(self, records: tuple[ApiKey, ...]) -> _Known:
        master = self._master.key if self._master is not None else None
        if master is None:
            return _Known(records, {}, {})
        keys = [
            KnownKey(record, value_of(record.uid, master), moment(record.expires_at) if record.expires_at else None)
            for record in records
        ]
        return _Known(records, {self._digest(key.value): key for key in keys}, {key.record.uid: key for key in keys})

    async def _begin(self) -> None:
        """Learn the master key, and the first keys of a cluster that has none yet."""
        base = self._cluster.topology.path.parent
        found = await self._cluster.fleet.each(
            lambda client: node_keys.introduce(client, base=base, timeout=self._cluster.patience.answer)
        )
        master = judge_master(found, self._own)
        if master.key is not None and not any(not key.deleted for key in await self._cluster.store.api_keys()):
            first = first_keys([found[name] for name in master.shared_by])
            await self._cluster.store.begin_api_keys(first or default_keys(now=written(time.time_ns())))
        self._master = master
        self._master_digest = b"" if master.key is None else self._digest(master.key)
        if master.key is not None and not (self._own is None and len(master.shared_by) == len(found)):
            LOG.info("not all nodes have the clients' master key", extra={"nodes": list(master.shared_by)})


def _token_of(headers: Mapping[str, str]) -> str | None:
    """The token of the header; None without a header. Raises Meilisearch's error for another kind of header."""
    header = headers.get("authorization")
    if header is None:
        return None
    kind, space, token = header.partition(" ")
    if kind != "Bearer":
        raise missing_header()
    if not space:
        raise invalid_key()
    return token


def _as_uid(text: str) -> str:
    """A uid as it is kept, however it is spelled."""
    bare = text.replace("-", "").lower()
    if len(bare) != 32 or any(letter not in "0123456789abcdef" for letter in bare):
        return text
    return f"{bare[:8]}-{bare[8:12]}-{bare[12:16]}-{bare[16:20]}-{bare[20:]}"


def _not_found(uid_or_value: str) -> ApiError:
    return ApiError("api_key_not_found", f"API key `{uid_or_value}` not found.")

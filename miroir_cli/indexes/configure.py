"""Reading and changing an index's settings on all its nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import MiroirError, NodeRefusal, NodeTaskFailed, SettingsInvalid, ShardUnavailable
from miroir_cli.indexes.catalog import default_rules
from miroir_cli.indexes.settings import KEYS, diff, differences, from_node, merge, to_node, validate, with_removals
from miroir_cli.model import Index, IndexMap, IntentState, Json, NodeName, ShardId, WriteKind
from miroir_cli.replication.members import Roll, call_roll
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import Outgoing, Written, write_locked

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """What a change did: the keys with their values before and after, and the nodes that have it."""

    changed: Mapping[str, tuple[Any, Any]]
    nodes: tuple[NodeName, ...] = ()
    stale: tuple[NodeName, ...] = ()


async def get_settings(cluster: Cluster, uid: str) -> dict[str, Any]:
    """The index's complete settings as one Meilisearch would show them, from any node in sync."""
    map = await cluster.reload(uid)
    found = await _from_any(cluster, map)
    index = map.index
    return from_node(found, index.settings, primary_key=index.primary_key, tie_break=index.tie_break)


async def _from_any(cluster: Cluster, map: IndexMap) -> dict[str, Any]:
    error: MiroirError | None = None
    for name in _in_sync_nodes(map):
        if name not in cluster.fleet:
            continue
        try:
            return await cluster.fleet[name].settings(map.index.uid)
        except MiroirError as failure:
            error = failure
    raise error or ShardUnavailable(f"no node with an in-sync replica of index `{map.index.uid}` is left")


def _in_sync_nodes(map: IndexMap) -> list[NodeName]:
    return sorted({name for names in map.in_sync().values() for name in names})


async def plan_settings(cluster: Cluster, uid: str, patch: Json, *, source: str = "settings") -> SettingsChange:
    """What `change_settings` would change (`--dry-run`)."""
    validate(dict(patch), source=source)
    map = await cluster.reload(uid)
    after = merge(map.index.settings, patch)
    return SettingsChange(changed=diff(map.index.settings, after), nodes=tuple(_in_sync_nodes(map)))


async def change_settings(
    cluster: Cluster, uid: str, patch: Json, *, source: str = "settings", timeout: float = 3600.0
) -> SettingsChange:
    """Patch the settings on every node, wait until they are applied, and read them back.

    Null resets a key. Nothing is sent when a key or value is wrong. Raises what the nodes say when all of them refuse.
    """
    validate(dict(patch), source=source)
    roll = await call_roll(cluster)
    async with _after_other_changes(cluster, uid, timeout=timeout) as map:
        index = map.index
        after = merge(index.settings, patch)
        changed = diff(index.settings, after)
        names = _in_sync_nodes(map)
        _require_every_shard(map, roll)
        rules = await default_rules(cluster, [name for name in names if name in roll.present])
        node_settings = with_removals(
            to_node(after, primary_key=index.primary_key, tie_break=index.tie_break, default_rules=rules),
            before=index.settings,
            present=await _embedders_on(cluster, index, [name for name in names if name in roll.present]),
        )
        content = msgspec.json.encode(node_settings)
        written = await write_locked(
            cluster,
            index,
            Outgoing(
                kind=WriteKind.SETTINGS,
                documents={ShardId(shard): None for shard in range(index.shards)},
                payload=lambda shards: content,
                path="settings",
                method="PATCH",
                content_type="application/json",
                body=after,
            ),
        )
    await _stored(cluster, index, written, timeout=timeout)
    map = await cluster.reload(uid)
    left = tuple(_in_sync_nodes(map))
    await _read_back(cluster, index, node_settings, written.n, left)
    return SettingsChange(changed=changed, nodes=left, stale=tuple(name for name in names if name not in left))


@asynccontextmanager
async def _after_other_changes(cluster: Cluster, uid: str, *, timeout: float) -> AsyncIterator[IndexMap]:
    """The order lock, once no other change of the settings is under way: a change starts from the one before it."""
    while True:
        async with cluster.locks.order(uid):
            index = (await cluster.reload(uid)).index
            await recover(cluster, index)
            pending = await cluster.store.pending(uid)
            before = [intent.n for intent in pending.intents if intent.kind is WriteKind.SETTINGS]
            if not before:
                yield await cluster.reload(uid)
                return
        await settle_until(cluster, index, before[-1], timeout=timeout)


async def _embedders_on(cluster: Cluster, index: Index, names: Sequence[NodeName]) -> set[str]:
    """Names of the embedders that these nodes have; also those that nobody should have given them."""
    found = await cluster.fleet.each(lambda client: client.settings(index.uid), names=names)
    return {
        name
        for settings in found.values()
        if not isinstance(settings, MiroirError)
        for name in settings.get("embedders") or ()
    }


def _require_every_shard(map: IndexMap, roll: Roll) -> None:
    """Settings are for all shards: refuse, before anything is sent, when the nodes of one of them do not answer."""
    for shard, nodes in map.in_sync().items():
        if not set(nodes) & set(roll.present):
            silent = next((roll.absent[name].message for name in nodes if name in roll.absent), "none is in sync")
            raise ShardUnavailable(
                f"settings of index `{map.index.uid}` were not changed: no replica of shard {shard} answers ({silent})",
                hint="bring the node back and run the command again",
            )


async def _stored(cluster: Cluster, index: Index, written: Written, *, timeout: float) -> None:
    outcome = (await settle_until(cluster, index, written.n, timeout=timeout)).get(written.n)
    if outcome is not None and outcome.state is IntentState.DONE and not outcome.failed and not written.refused:
        return
    reason = written.reason or (outcome.error if outcome else None) or "the nodes did not apply them"
    message = f"settings of index `{index.uid}` were not changed everywhere: {reason}"
    if written.refused and not isinstance(written.error, NodeRefusal):
        raise NodeTaskFailed(message, hint="run the command again when all nodes answer: it sets all of them")
    raise SettingsInvalid(message)


async def _read_back(cluster: Cluster, index: Index, expected: Json, n: int, names: Iterable[NodeName]) -> None:
    """Make sure that the nodes have what was sent, unless somebody has changed the settings again."""
    found = await cluster.fleet.each(
        lambda client: client.settings(index.uid), names=[name for name in names if name in cluster.fleet]
    )
    newest = await cluster.store.newest_intent(index.uid)
    later = await cluster.store.intents(index.uid, range(n + 1, newest.n + 1 if newest else 0))
    if any(intent.kind is WriteKind.SETTINGS for intent in later.values()):
        return
    for name, settings in found.items():
        if isinstance(settings, MiroirError):
            continue
        wrong = differences(expected, settings)
        if wrong:
            raise NodeTaskFailed(f"node `{name}` did not take the setting `{wrong[0]}` as it was sent")


async def reset_settings(cluster: Cluster, uid: str, keys: Sequence[str]) -> SettingsChange:
    """Reset the named settings, or all of them, to Meilisearch's defaults."""
    return await change_settings(cluster, uid, dict.fromkeys(keys or KEYS))


async def diff_settings(cluster: Cluster, uid: str, wanted: Json, *, source: str) -> dict[str, tuple[Any, Any]]:
    """Keys that the file has otherwise than the index, with both values."""
    validate(dict(wanted), source=source)
    current = (await cluster.reload(uid)).index.settings
    return diff({key: current.get(key) for key in wanted}, wanted)

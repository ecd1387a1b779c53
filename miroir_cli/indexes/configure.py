"""Reading and changing an index's settings on all its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import MiroirError, NodeTaskFailed, SettingsInvalid, ShardUnavailable
from miroir_cli.indexes.catalog import default_rules
from miroir_cli.indexes.settings import KEYS, diff, differences, from_node, merge, to_node, validate
from miroir_cli.model import IndexMap, IntentState, Json, NodeName, ShardId, WriteKind
from miroir_cli.replication.members import call_roll
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
    await call_roll(cluster)
    async with cluster.locks.order(uid):
        map = await cluster.reload(uid)
        index = map.index
        after = merge(index.settings, patch)
        changed = diff(index.settings, after)
        names = _in_sync_nodes(map)
        rules = await default_rules(cluster, [name for name in names if name in cluster.fleet][:1])
        node_settings = to_node(after, primary_key=index.primary_key, tie_break=index.tie_break, default_rules=rules)
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
    await _stored(cluster, uid, written, timeout=timeout)
    map = await cluster.reload(uid)
    left = _in_sync_nodes(map)
    for name in left:
        wrong = differences(node_settings, await cluster.fleet[name].settings(uid))
        if wrong:
            raise NodeTaskFailed(f"node `{name}` did not take the setting `{wrong[0]}` as it was sent")
    behind = tuple(name for name in names if name not in left)
    return SettingsChange(changed=changed, nodes=tuple(left), stale=behind)


async def _stored(cluster: Cluster, uid: str, written: Written, *, timeout: float) -> None:
    index = (await cluster.map(uid)).index
    outcome = (await settle_until(cluster, index, written.n, timeout=timeout)).get(written.n)
    if outcome is not None and outcome.state is IntentState.DONE and not outcome.failed and not written.refused:
        return
    reason = (outcome.error if outcome else None) or written.reason or "the nodes did not apply them"
    raise SettingsInvalid(f"settings of index `{uid}` were not changed everywhere: {reason}")


async def reset_settings(cluster: Cluster, uid: str, keys: Sequence[str]) -> SettingsChange:
    """Reset the named settings, or all of them, to Meilisearch's defaults."""
    return await change_settings(cluster, uid, dict.fromkeys(keys or KEYS))


async def diff_settings(cluster: Cluster, uid: str, wanted: Json, *, source: str) -> dict[str, tuple[Any, Any]]:
    """Keys that the file has otherwise than the index, with both values."""
    validate(dict(wanted), source=source)
    current = (await cluster.reload(uid)).index.settings
    return diff({key: current.get(key) for key in wanted}, wanted)

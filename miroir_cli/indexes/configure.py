"""Reading and changing an index's settings on all its nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli import metrics
from miroir_cli.errors import (
    IndexFrozen,
    MiroirError,
    NodeRefusal,
    NodeTaskFailed,
    SettingsInvalid,
    ShardUnavailable,
)
from miroir_cli.indexes.catalog import default_rules
from miroir_cli.indexes.differences import diff, differences
from miroir_cli.indexes.settings import from_node, merge, to_node, validate, with_removals
from miroir_cli.model import RESERVED_PREFIX, Index, IndexMap, IntentState, Json, NodeName, ShardId, WriteKind
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
            return await cluster.fleet[name].settings(map.index.stored_as)
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
    async with after_other_changes(cluster, uid, timeout=timeout) as map:
        await require_thawed(cluster, uid)
        after = merge(map.index.settings, patch)
        proposal = await propose(cluster, map, roll, after)
    changed = diff(map.index.settings, after)
    await proposal.stored(timeout=timeout)
    left = tuple(_in_sync_nodes(await cluster.reload(uid)))
    if await proposal.not_as_sent(left):
        proposal = await _propose_again(cluster, uid, timeout=timeout)
        left = tuple(_in_sync_nodes(await cluster.reload(uid)))
        wrong = await proposal.not_as_sent(left)
        if wrong:
            await _freeze(cluster, proposal.index, wrong)
    await cluster.store.note_settings(proposal.index, left, proposal.written.n)
    stale = tuple(name for name in _in_sync_nodes(map) if name not in left)
    return SettingsChange(changed=changed, nodes=left, stale=stale)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Settings on their way to the nodes: what each was sent, and the intent that carries it."""

    cluster: Cluster
    index: Index
    node_settings: Json
    written: Written

    async def stored(self, *, timeout: float) -> None:
        """Wait until the nodes have applied it. Raises why they did not."""
        await _stored(self.cluster, self.index, self.written, timeout=timeout)

    async def not_as_sent(self, names: Iterable[NodeName]) -> dict[NodeName, str]:
        """The nodes that have one of the settings otherwise than it was sent; none once somebody changed them again."""
        wrong = await _read_back(self.cluster, self.index, self.node_settings, self.written.n, names)
        metrics.SETTINGS_MISMATCHES.inc(amount=len(wrong))
        return wrong


async def propose(
    cluster: Cluster, map: IndexMap, roll: Roll, after: Json, *, primary_key: str | None = None
) -> Proposal:
    """Send these settings of a user to every node in sync. Call it inside `after_other_changes`.

    `primary_key`: the one that the index is about to get.
    """
    index = map.index
    _require_every_shard(map, roll)
    names = [name for name in _in_sync_nodes(map) if name in roll.present]
    rules = await default_rules(cluster, names)
    key = index.primary_key if primary_key is None else primary_key
    node_settings = with_removals(
        to_node(after, primary_key=key, tie_break=index.tie_break, default_rules=rules),
        before=index.settings,
        present=await _embedders_on(cluster, index, names),
    )
    content = msgspec.json.encode(node_settings)
    outgoing = Outgoing(
        kind=WriteKind.SETTINGS,
        documents={ShardId(shard): None for shard in range(index.shards)},
        payload=lambda shards: content,
        path="settings",
        method="PATCH",
        content_type="application/json",
        body=after,
    )
    written = await write_locked(cluster, index, outgoing)
    return Proposal(cluster=cluster, index=index, node_settings=node_settings, written=written)


async def _propose_again(cluster: Cluster, uid: str, *, timeout: float) -> Proposal:
    """Send the settings as the state has them once more, and wait."""
    roll = await call_roll(cluster)
    async with after_other_changes(cluster, uid, timeout=timeout) as map:
        proposal = await propose(cluster, map, roll, map.index.settings)
    await proposal.stored(timeout=timeout)
    return proposal


async def _freeze(cluster: Cluster, index: Index, wrong: Mapping[NodeName, str]) -> None:
    """Let nobody write documents that nodes would index in different ways."""
    name, setting = next(iter(sorted(wrong.items())))
    reason = f"node `{name}` does not take the setting `{setting}` as it was sent"
    await cluster.store.freeze(index, reason)
    raise frozen_because(index.uid, reason)


def frozen_because(uid: str, reason: str) -> IndexFrozen:
    return IndexFrozen(f"index `{uid}` takes no writes: {reason}", hint=f"run `miroir index unfreeze {uid}`")


async def require_thawed(cluster: Cluster, uid: str) -> None:
    """Raise for an index that takes no writes."""
    reason = (await cluster.store.frozen()).get(uid)
    if reason is not None:
        raise frozen_because(uid, reason)


@asynccontextmanager
async def after_other_changes(cluster: Cluster, uid: str, *, timeout: float) -> AsyncIterator[IndexMap]:
    """The order lock, once no other change of the settings is under way: a change starts from the one before it."""
    while True:
        async with cluster.locks.order(uid):
            index = (await cluster.reload(uid)).index
            await recover(cluster, index)
            pending = await cluster.store.pending(uid)
            before = [intent.n for intent in pending.intents if not intent.kind.changes_documents]
            if not before:
                yield await cluster.reload(uid)
                return
        await settle_until(cluster, index, before[-1], timeout=timeout)


async def _embedders_on(cluster: Cluster, index: Index, names: Sequence[NodeName]) -> set[str]:
    """Names of the embedders that these nodes have; also those that nobody should have given them."""
    found = await cluster.fleet.each(lambda client: client.settings(index.stored_as), names=names)
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
    raise SettingsInvalid(message, node_error=await _error_of_a_node(cluster, index, written.n))


async def _error_of_a_node(cluster: Cluster, index: Index, n: int) -> Json | None:
    """With what error a node failed to apply a write; None if none can say so now, or only with names of miroir's."""
    intent = (await cluster.store.intents(index.uid, [n]))[n]
    for target in intent.targets:
        for piece in target.pieces if target.node in cluster.fleet else ():
            with suppress(MiroirError):
                error = (await cluster.fleet[target.node].task(piece.task)).get("error")
                if isinstance(error, dict) and RESERVED_PREFIX not in str(error.get("message")):
                    return {**error, "message": index.worded(str(error.get("message")))}
    return None


async def _read_back(
    cluster: Cluster, index: Index, expected: Json, n: int, names: Iterable[NodeName]
) -> dict[NodeName, str]:
    """For nodes that have not what was sent one of the settings, unless somebody has changed the settings again."""
    found = await cluster.fleet.each(
        lambda client: client.settings(index.stored_as), names=[name for name in names if name in cluster.fleet]
    )
    newest = await cluster.store.newest_intent(index.uid)
    later = await cluster.store.intents(index.uid, range(n + 1, newest.n + 1 if newest else 0))
    if any(not intent.kind.changes_documents for intent in later.values()):
        return {}
    shown = {name: settings for name, settings in found.items() if not isinstance(settings, MiroirError)}
    wrong = {name: differences(expected, settings) for name, settings in shown.items()}
    # What all nodes spell in one way other than it was sent is a way of spelling, not a difference between them.
    alike = all(settings == next(iter(shown.values())) for settings in shown.values())
    return {} if alike else {name: settings[0] for name, settings in wrong.items() if settings}


async def diff_settings(cluster: Cluster, uid: str, wanted: Json, *, source: str) -> dict[str, tuple[Any, Any]]:
    """Keys that the file has otherwise than the index, with both values."""
    validate(dict(wanted), source=source)
    current = (await cluster.reload(uid)).index.settings
    return diff({key: current.get(key) for key in wanted}, wanted)

"""What can be wrong with indexes: replicas, placement, unfinished work, settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from miroir_cli.checkup.finding import Finding, error, have, info, quoted, several, span, warning
from miroir_cli.checkup.node_rules import is_another_disk
from miroir_cli.errors import MiroirError
from miroir_cli.indexes.differences import drift
from miroir_cli.model import NodeName, ReplicaState, ShardId, shards_named, staying_groups
from miroir_cli.topology.placement import moves, place

if TYPE_CHECKING:
    from collections.abc import Collection

    from miroir_cli.checkup.facts import Facts, IndexFacts, NodeFacts
    from miroir_cli.model import Index, Json

PLACED = (ReplicaState.SERVING, ReplicaState.STALE, ReplicaState.LOST)
"""Replicas that are where the placement wants them, whatever they are worth; the others are on their way."""


def _by_node(index: IndexFacts, states: Collection[ReplicaState]) -> dict[NodeName, list[ShardId]]:
    found: dict[NodeName, list[ShardId]] = {}
    for replica in index.map.replicas:
        if replica.state in states:
            found.setdefault(replica.node, []).append(replica.shard)
    return dict(sorted(found.items()))


def out_of_sync(facts: Facts) -> Iterator[Finding]:
    """Stale and lost replicas, by index and node."""
    why = {ReplicaState.STALE: "missed a write", ReplicaState.LOST: "its disk was another one"}
    for index in facts.state.indexes:
        uid = index.map.index.uid
        for state, reason in why.items():
            for name, shards in _by_node(index, (state,)).items():
                behind = _behind(facts, index, name, shards) if state is ReplicaState.STALE else ""
                back = "" if facts.answers(name) else f"bring node `{name}` back, then "
                yield warning(
                    f"replica.{state.value}",
                    f"{uid}@{name}",
                    f"index `{uid}`: {several(len(shards), 'shard')} on node `{name}` "
                    f"{'is' if len(shards) == 1 else 'are'} {state.value} ({reason}): {shards_named(shards)}{behind}",
                    f"{back}run `miroir repair {uid}`",
                )


def _behind(facts: Facts, index: IndexFacts, name: NodeName, shards: Collection[ShardId]) -> str:
    """How far stale replicas are behind, and since when they are not written to, as far as their node tells."""
    uid, node = index.map.index.stored_as, facts.node(name)
    if node is None:
        return ""
    said = []
    here, in_sync = node.counted.get(uid), index.map.in_sync()
    others = {each.name: each.counted[uid] for each in facts.nodes if uid in each.counted}
    differences = [
        abs(here.get(shard, 0) - others[other].get(shard, 0))
        for shard in shards
        if here is not None and (other := next((each for each in in_sync[shard] if each in others), None)) is not None
    ]
    if sum(differences):
        said.append(f"{several(sum(differences), 'document')} differ at least")
    if (age := node.last_writes.get(uid)) is not None:
        said.append(f"the last write that it took was {span(age)} ago")
    return f"; {', '.join(said)}" if said else ""


def left_over(facts: Facts) -> Iterator[Finding]:
    """Replicas on their way while no run is alive: nobody moves them on."""
    if any(not lock.name.endswith(".order") and ".import." not in lock.name for lock in facts.passing_locks()):
        return
    for index in facts.state.indexes:
        uid = index.map.index.uid
        for state in (ReplicaState.JOINING, ReplicaState.LEAVING):
            for name, shards in _by_node(index, (state,)).items():
                yield warning(
                    f"replica.{state.value}",
                    f"{uid}@{name}",
                    f"index `{uid}`: {shards_named(shards)} on node `{name}` {'is' if len(shards) == 1 else 'are'} "
                    f"{state.value}, and no run is at work",
                    "run `miroir rebalance run`: it goes on where it stopped",
                )


def uncovered(facts: Facts) -> Iterator[Finding]:
    """Shards without any in-sync replica: they take no reads and no writes."""
    for index in facts.state.indexes:
        uid = index.map.index.uid
        bare = {shard for shard, nodes in index.map.in_sync().items() if not nodes}
        if not bare:
            continue
        holders = {(replica.node, replica.state) for replica in index.map.replicas if replica.shard in bare}
        shown = ", ".join(f"`{name}` {state.value}" for name, state in sorted(holders)) or "nobody has them"
        lost = {name for name, state in holders if state is ReplicaState.LOST}
        wanted = lost or {name for name, _ in holders}
        yield error(
            "index.uncovered",
            uid,
            f"index `{uid}`: {shards_named(bare)} without any in-sync replica ({shown}): no reads and no writes there",
            f"bring node {quoted(wanted)} back with its old disk and run `miroir repair {uid}`, or give up what only "
            f"that had: `miroir repair {uid} --accept-data-loss`",
        )


def unreachable(facts: Facts) -> Iterator[Finding]:
    """Shards that are in sync somewhere, where nobody answers now."""
    for index in facts.state.indexes:
        uid = index.map.index.uid
        silent = {
            shard: nodes
            for shard, nodes in index.map.in_sync().items()
            if nodes and not any(facts.answers(name) for name in nodes)
        }
        if silent:
            names = {name for nodes in silent.values() for name in nodes}
            yield error(
                "index.unreachable",
                uid,
                f"index `{uid}`: no in-sync replica of {shards_named(silent)} answers, only {quoted(names)} "
                f"{'has' if len(names) == 1 else 'have'} them",
                f"bring node {quoted(names)} back: nothing is lost yet",
            )


def below_quorum(facts: Facts) -> Iterator[Finding]:
    """Shards that are read but not written, for `min_in_sync` asks for more replicas in sync."""
    least = facts.cluster.min_in_sync
    for index in facts.state.indexes:
        uid = index.map.index.uid
        short = [shard for shard, nodes in index.map.in_sync().items() if 0 < len(nodes) < least]
        if short:
            yield error(
                "index.quorum",
                uid,
                f"index `{uid}`: {have(short)} fewer than {least} replicas in sync (`min_in_sync`): writes are refused",
                f"run `miroir repair {uid}`, or lower `min_in_sync` in the topology file",
            )


def too_few_replicas(facts: Facts) -> Iterator[Finding]:
    """Shards with fewer replicas within a group than the index is to have, whatever the state of those. A group whose
    nodes are all drained is to have none."""
    for index in facts.state.indexes:
        uid, wanted = index.map.index.uid, index.map.index.replicas_wanted(facts.cluster.replicas)
        for group, members in staying_groups([node.node for node in facts.nodes]).items():
            names = {node.name for node in members}
            held = [
                replica.shard
                for replica in index.map.replicas
                if replica.node in names and replica.state is not ReplicaState.LEAVING
            ]
            short = [shard for shard in range(index.map.index.shards) if held.count(ShardId(shard)) < wanted]
            if short:
                yield warning(
                    "index.replicas",
                    uid,
                    f"index `{uid}`: {have(short)} fewer than {several(wanted, 'replica')} in group `{group}`",
                    "run `miroir rebalance run` to make the missing ones",
                )


def misplaced(facts: Facts) -> Iterator[Finding]:
    """Indexes of which the placement is not what the topology file asks for."""
    nodes = [node.node for node in facts.nodes]
    for index in facts.state.indexes:
        uid = index.map.index.uid
        current: dict[ShardId, set[NodeName]] = {}
        for replica in index.map.replicas:
            if replica.state in PLACED:
                current.setdefault(replica.shard, set()).add(replica.node)
        try:
            replicas = index.map.index.replicas_wanted(facts.cluster.replicas)
            target = place(shards=index.map.index.shards, nodes=nodes, replicas=replicas, current=current)
        except MiroirError as failure:
            yield error(
                "index.placement",
                uid,
                f"index `{uid}` cannot be placed: {failure.message}",
                failure.hint or "add nodes",
            )
            continue
        needed = moves(current, target, nodes=nodes)
        if needed:
            copied = sum(move.target is not None for move in needed)
            yield warning(
                "index.placement",
                uid,
                f"the placement of index `{uid}` is not what the topology file asks: {several(copied, 'replica')} to "
                f"copy, {len(needed) - copied} only to drop",
                "run `miroir rebalance run` to do it; `miroir rebalance plan` shows it before",
            )


def writes_in_doubt(facts: Facts) -> Iterator[Finding]:
    for index in facts.state.indexes:
        uid = index.map.index.uid
        if index.in_doubt is not None and not index.busy:
            yield warning(
                "write.doubt",
                uid,
                f"index `{uid}`: write {index.in_doubt} was interrupted and its outcome is not known",
                f"run what was interrupted again, or `miroir repair {uid}`: it asks the nodes what became of it",
            )


def writes_not_settled(facts: Facts) -> Iterator[Finding]:
    for index in facts.state.indexes:
        if index.unsettled:
            uid = index.map.index.uid
            yield info(
                "write.unsettled",
                uid,
                f"index `{uid}`: {several(index.unsettled, 'write')} sent and not yet told as stored",
                "nothing to do: the next write looks at the queues of the nodes, as does `miroir repair`",
            )


def imports_unfinished(facts: Facts) -> Iterator[Finding]:
    for unfinished in facts.state.imports:
        record = unfinished.record
        names = quoted(str(source.get("name")) for source in record.fingerprint.get("sources", ()))
        if unfinished.running:
            yield info(
                "import.running", record.uid, f"index `{record.uid}`: an import of {names} is running", "nothing to do"
            )
        else:
            yield warning(
                "import.unfinished",
                record.uid,
                f"index `{record.uid}`: an import of {names} was interrupted",
                "give the same `miroir import` again: it goes on where it stopped",
            )


def indexes_unfinished(facts: Facts) -> Iterator[Finding]:
    for unfinished in facts.state.unfinished:
        noun = {"creating": "creation", "deleting": "deletion"}[unfinished.state]
        command = f"miroir index delete {unfinished.uid}"
        if unfinished.state == "creating":
            command = f"miroir index create {unfinished.uid}{_options(facts, unfinished.index)}"
        if not unfinished.busy:
            yield warning(
                "index.unfinished",
                unfinished.uid,
                f"index `{unfinished.uid}`: its {noun} has begun and not ended",
                f"run `{command}` again: it goes on with it",
            )


def _options(facts: Facts, index: Index | None) -> str:
    """How an index was to be created, as far as it is not what the topology file says."""
    if index is None:
        return " --primary-key FIELD"
    options = f" --primary-key {index.primary_key}" if index.primary_key else ""
    if index.shards != facts.cluster.shards:
        options += f" --shards {index.shards}"
    return options + (f" --replicas {index.replicas}" if index.own_replicas else "")


def index_missing(facts: Facts) -> Iterator[Finding]:
    """Nodes that have in-sync replicas of an index in the books, and no such index."""
    for index in facts.state.indexes:
        uid, stored_as = index.map.index.uid, index.map.index.stored_as
        for name, shards in _by_node(index, (ReplicaState.SERVING,)).items():
            node = facts.node(name)
            if node is None or is_another_disk(facts, node):
                continue
            if stored_as in node.settings and node.settings[stored_as] is None:
                yield error(
                    "index.missing",
                    f"{uid}@{name}",
                    f"node `{name}` has no index `{stored_as}`, of which it should hold "
                    f"{several(len(shards), 'shard')}",
                    f"somebody deleted it there: run `miroir repair {uid}`",
                )


def settings_drift(facts: Facts) -> Iterator[Finding]:
    """Nodes whose settings of an index are not what the state says."""
    for index in facts.state.indexes:
        uid, wanted = str(index.map.index.uid), index.map.index
        serving = _by_node(index, (ReplicaState.SERVING,))
        found = {
            node.name: (settings, node.defaults)
            for node in facts.nodes
            if node.name in serving
            and node.defaults is not None
            and (settings := node.settings.get(wanted.stored_as)) is not None
        }
        if not index.steady or not found:
            continue
        rules = _default_rules(facts, [settings for settings, _ in found.values()], index)
        for name, (settings, defaults) in found.items():
            wrong = drift(
                wanted.settings,
                settings,
                defaults=defaults,
                primary_key=wanted.primary_key,
                tie_break=wanted.tie_break,
                default_rules=rules,
            )
            if wrong:
                yield warning(
                    "settings.drift",
                    f"{uid}@{name}",
                    f"settings of index `{uid}` on node `{name}` are not what they should be: {quoted(wrong)}",
                    f"run `miroir repair {uid}`",
                )


def _default_rules(facts: Facts, settings: list[Json], index: IndexFacts) -> list[str]:
    """The ranking rules that an index which names none should have.

    Those that all its nodes have, if they agree: they were the default of the version that made the index. Else the
    default of the oldest node now.
    """
    key = index.map.index.primary_key
    tie_break = f"{key}:asc"
    lists = [list(found.get("rankingRules") or ()) for found in settings]
    if all(rules == lists[0] for rules in lists) and (
        not (index.map.index.tie_break and key) or lists[0][-1:] == [tie_break]
    ):
        return lists[0]
    oldest = min(
        (node for node in facts.nodes if node.version is not None and node.defaults is not None),
        key=lambda node: (_numbers(node), node.name),
    )
    return list((oldest.defaults or {}).get("rankingRules") or ())


def _numbers(node: NodeFacts) -> tuple[int, int]:
    return node.version.numbers if node.version is not None else (0, 0)


def frozen(facts: Facts) -> Iterator[Finding]:
    """Indexes that take no documents because their nodes have unequal settings."""
    for index in facts.state.indexes:
        if index.frozen is not None:
            uid = index.map.index.uid
            yield error(
                "index.frozen",
                uid,
                f"index `{uid}` takes no documents: {index.frozen}",
                f"run `miroir index unfreeze {uid}`",
            )


INDEX_RULES = (
    uncovered,
    unreachable,
    below_quorum,
    index_missing,
    out_of_sync,
    left_over,
    too_few_replicas,
    misplaced,
    settings_drift,
    writes_in_doubt,
    imports_unfinished,
    indexes_unfinished,
    writes_not_settled,
    frozen,
)

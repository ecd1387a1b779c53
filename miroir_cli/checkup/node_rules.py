"""What can be wrong with nodes. Each rule looks at the facts and yields its findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from miroir_cli.checkup.facts import TroubleKind
from miroir_cli.checkup.finding import Finding, error, info, quoted, several, span, warning
from miroir_cli.model import ReplicaState

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts, FailedTask, NodeFacts
    from miroir_cli.model import NodeName

SLOW = 1.0
"""Seconds above which an answer to a small question is slow."""

CLOCK_TOLERANCE = 5.0
RECENT = 3600.0
"""Seconds for which a failed task is worth mentioning."""

DISK_FULL = "no_space_left_on_device"

TROUBLE_HINTS = {
    TroubleKind.DOWN: "start the server; when it is back run `miroir repair`, when it is gone for good "
    "`miroir node replace {name}`",
    TroubleKind.HANGING: "look at the load and the log of the server, and restart it if it stays so; then run "
    "`miroir repair`",
    TroubleKind.FAILING: "look at the log of the server, and check the url in the topology file",
    TroubleKind.KEY: "check key_env, key_file or key_command in the topology file: miroir needs a key with all rights",
    TroubleKind.UNSUPPORTED: "check the url in the topology file, or upgrade the server to Meilisearch 1.26 or newer",
}


def unanswered(facts: Facts) -> Iterator[Finding]:
    """Nodes that are down, hang, fail, refuse the key or are not Meilisearch; one line where it is one and the same."""
    alike: dict[tuple[TroubleKind, str], list[NodeFacts]] = {}
    for node in facts.nodes:
        if node.trouble is not None:
            alike.setdefault((node.trouble.kind, node.trouble.message), []).append(node)
    for (kind, message), nodes in alike.items():
        where = ", ".join(node.name for node in nodes)
        named = message if len(nodes) == 1 or kind is not TroubleKind.KEY else f"{message} (nodes {where})"
        yield error(f"node.{kind.value}", where, named, TROUBLE_HINTS[kind].format(name=nodes[0].name))


def slow(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        if node.trouble is None and node.slowest > SLOW:
            yield warning(
                "node.slow",
                node.name,
                f"node `{node.name}` took {node.slowest:.1f} s to answer a small question",
                "look at the load of the server and of the network between here and there",
            )


def versions_differ(facts: Facts) -> Iterator[Finding]:
    versions: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.version is not None:
            versions.setdefault(node.version.package, []).append(node.name)
    if len(versions) > 1:
        shown = ", ".join(f"{version} ({quoted(names)})" for version, names in sorted(versions.items()))
        yield warning(
            "node.versions",
            facts.cluster.name,
            f"the nodes run different versions, which may rank differently: {shown}",
            "upgrade the older ones, one after the other",
        )


def engines_mixed(facts: Facts) -> Iterator[Finding]:
    engines: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.version is not None:
            engines.setdefault(node.version.engine, []).append(node.name)
    if len(engines) > 1:
        shown = ", ".join(f"{engine} ({quoted(names)})" for engine, names in sorted(engines.items()))
        yield warning(
            "node.engines",
            facts.cluster.name,
            f"embedded development nodes and Meilisearch servers are mixed, which answer differently: {shown}",
            "use one kind: `miroir node replace NAME` exchanges a node for another",
        )


def is_foreign(facts: Facts, node: NodeFacts) -> bool:
    """Whether the node's marker is of another cluster, or of another node of this one."""
    marker = node.disk.marker if node.disk is not None else None
    if marker is None:
        return False
    record = facts.state.cluster
    other = marker.cluster_id != record.id if record is not None else marker.cluster != facts.cluster.name
    return other or marker.node != node.name


def foreign(facts: Facts) -> Iterator[Finding]:
    """Nodes that belong to another cluster, and urls behind which another node of this cluster answers."""
    for node in facts.nodes:
        if node.disk is None or node.disk.marker is None or not is_foreign(facts, node):
            continue
        marker = node.disk.marker
        mine = facts.state.cluster is not None and marker.cluster_id == facts.state.cluster.id
        if mine or (facts.state.cluster is None and marker.cluster == facts.cluster.name):
            yield error(
                "node.name",
                node.name,
                f"the server at {node.node.url} is node `{marker.node}`, not `{node.name}`",
                "correct the name or the url of the node in the topology file",
            )
        else:
            yield error(
                "node.foreign",
                node.name,
                f"node `{node.name}` at {node.node.url} belongs to another cluster (`{marker.cluster}`)",
                "take it out of the topology file, or use the state file of its cluster (`[state] url`)",
            )


def is_another_disk(facts: Facts, node: NodeFacts) -> bool:
    """Whether a member's disk is not the one that was enrolled: no marker, or fewer tasks than it has had."""
    member = facts.state.members.get(node.name)
    if member is None or node.disk is None or is_foreign(facts, node):
        return False
    return node.disk.marker is None or node.disk.top_task < member.top_task


def another_disk(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        if node.disk is None or not is_another_disk(facts, node):
            continue
        replicas = sum(
            replica.node == node.name and replica.state is not ReplicaState.LOST
            for index in facts.state.indexes
            for replica in index.map.replicas
        )
        known = facts.state.members[node.name].top_task
        what = (
            "is empty or another one (it has no marker)"
            if node.disk.marker is None
            else f"is an older or another one (its newest task is {node.disk.top_task}, it was {known})"
        )
        yield error(
            "node.disk",
            node.name,
            f"the disk of node `{node.name}` {what}: its {several(replicas, 'replica')} will count as lost",
            "attach the right disk and restart the server; if that is gone run `miroir repair`",
        )


def not_a_member(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        known = node.name in facts.state.members or not facts.state.members
        if node.disk is not None and not known and not is_foreign(facts, node):
            yield info(
                "node.new",
                node.name,
                f"node `{node.name}` is in the topology file and not yet a member",
                "run `miroir rebalance run` to give it its part of the shards",
            )


def no_longer_named(facts: Facts) -> Iterator[Finding]:
    """Members that are gone from the topology file and still hold replicas."""
    named = {node.name for node in facts.nodes}
    held: dict[NodeName, list[str]] = {}
    for index in facts.state.indexes:
        for replica in index.map.replicas:
            if replica.node not in named:
                held.setdefault(replica.node, []).append(index.map.index.uid)
    for name, uids in sorted(held.items()):
        yield warning(
            "node.left",
            name,
            f"node `{name}` is no longer in the topology file and still holds {several(len(uids), 'replica')} "
            f"of {quoted(uids)}",
            "put it back into the topology file, or run `miroir rebalance run` to place its shards on the others",
        )


def clocks_differ(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        if node.clock is not None and abs(node.clock) > CLOCK_TOLERANCE:
            side = "ahead of" if node.clock > 0 else "behind"
            yield warning(
                "node.clock",
                node.name,
                f"the clock of node `{node.name}` is {span(abs(node.clock))} {side} the one here",
                "let a time service (NTP) set both clocks",
            )


def queue_stands(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        if node.standing is not None:
            task = node.standing
            yield warning(
                "node.queue",
                node.name,
                f"the queue of node `{node.name}` does not move: task {task.uid} (`{task.type}`) has waited for "
                f"{span(task.age)}, {several(task.waiting, 'task')} in all",
                "look at the log of the server and restart it: its queue goes on where it was",
            )


def disk_full(facts: Facts) -> Iterator[Finding]:
    """Nodes whose tasks fail for want of space, within the last hour or with no success since."""
    for node in facts.nodes:
        full = [task for task in node.failed if task.code == DISK_FULL]
        if full and (full[0].age < RECENT or full[0].uid > node.newest_success):
            yield error(
                "node.full",
                node.name,
                f"the disk of node `{node.name}` is full: {several(len(full), 'task')} failed for want of space, the "
                f"last one (task {full[0].uid}) {span(full[0].age)} ago",
                "make room on it or move it to a larger disk, then run `miroir repair`",
            )


def tasks_failed(facts: Facts) -> Iterator[Finding]:
    """Tasks of the cluster's indexes that failed within the last hour, by node and index."""
    known = {str(index.map.index.uid) for index in facts.state.indexes}
    for node in facts.nodes:
        failed: dict[str, list[FailedTask]] = {}
        for task in node.failed:
            if task.index in known and task.age < RECENT and task.code != DISK_FULL:
                failed.setdefault(str(task.index), []).append(task)
        for uid, tasks in failed.items():
            blameless = all(task.kind == "invalid_request" for task in tasks)
            yield (info if blameless else warning)(
                "node.tasks",
                node.name,
                f"{several(len(tasks), 'task')} of index `{uid}` failed on node `{node.name}` within the last hour, "
                f"the last one: {tasks[0].message}",
                "run `miroir journal list` to see which writes they were",
            )


def key_files_open(facts: Facts) -> Iterator[Finding]:
    files: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.open_key_file is not None:
            files.setdefault(node.open_key_file, []).append(node.name)
    for path, names in files.items():
        yield warning(
            "key.file",
            path,
            f"key file `{path}` of {quoted(names)} can be read by other users of this machine",
            f"run `chmod 600 {path}`",
        )


NODE_RULES = (
    unanswered,
    slow,
    versions_differ,
    engines_mixed,
    foreign,
    another_disk,
    not_a_member,
    no_longer_named,
    clocks_differ,
    queue_stands,
    disk_full,
    tasks_failed,
    key_files_open,
)

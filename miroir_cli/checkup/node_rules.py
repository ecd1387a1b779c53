"""What can be wrong with nodes. Each rule looks at the facts and yields its findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from miroir_cli.checkup.facts import TroubleKind
from miroir_cli.checkup.finding import Finding, error, info, quoted, several, size, span, warning
from miroir_cli.model import ReplicaState
from miroir_cli.node.wording import for_users

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts, FailedTask, NodeFacts
    from miroir_cli.model import NodeName

SLOW = 1.0
"""Seconds above which an answer to a small question is slow."""

FAULTY_RELEASES = {
    "1.26.0": ("pages of documents may show one twice, and embedders may skip some", "1.27.0"),
    "1.38.0": ("its queue may stop once it has deleted old tasks by itself", "1.38.1"),
    "1.48.0": ("a change in its indexing was wrong and was taken back", "1.48.1"),
}
"""Releases with a fault that matters to a cluster, and the first one without it. Source: Meilisearch's release notes of
1.27.0, and its pull requests 6219 and 6471."""

BEHIND = 600.0
"""Seconds that a task may wait in a queue that moves."""

UNUSED_BYTES = 1024**3
UNUSED_SHARE = 0.5

CLOCK_TOLERANCE = 5.0
RECENT = 3600.0
"""Seconds for which a failed task is worth mentioning."""

DISK_FULL = "no_space_left_on_device"

TROUBLE_HINTS = {
    TroubleKind.DOWN: "start the server; when it is back run `miroir repair`, when it is gone for good "
    "`miroir node replace {name} NAME=URL`",
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


def known_faults(facts: Facts) -> Iterator[Finding]:
    """Releases that their makers have taken back."""
    for node in facts.nodes:
        if node.version is None or node.version.engine != "meilisearch":
            continue
        fault = FAULTY_RELEASES.get(node.version.package)
        if fault is not None:
            what, better = fault
            yield warning(
                "node.release",
                node.name,
                f"node `{node.name}` runs Meilisearch {node.version.package}, which has a known fault: {what}",
                f"upgrade it to {better} or newer",
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
            "use one kind: `miroir node replace OLD NAME=URL` exchanges a node for another",
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
    """Clocks that differ from ours, and from each other though each is near ours."""
    told = {node.name: node.clock for node in facts.nodes if node.clock is not None}
    off = {name: clock for name, clock in told.items() if abs(clock) > CLOCK_TOLERANCE}
    for name, clock in off.items():
        side = "ahead of" if clock > 0 else "behind"
        yield warning(
            "node.clock",
            name,
            f"the clock of node `{name}` is {span(abs(clock))} {side} the one here",
            "let a time service (NTP) set both clocks",
        )
    first, last = min(told, key=lambda name: told[name], default=None), max(told, key=lambda n: told[n], default=None)
    if not off and first is not None and last is not None and told[last] - told[first] > CLOCK_TOLERANCE:
        yield warning(
            "node.clock",
            last,
            f"the clock of node `{last}` is {span(told[last] - told[first])} ahead of that of node `{first}`",
            "let a time service (NTP) set both clocks",
        )


def queue_stands(facts: Facts) -> Iterator[Finding]:
    """Queues that do not move, and queues that move but are far behind."""
    for node in facts.nodes:
        task = node.standing
        if task is not None:
            yield warning(
                "node.queue",
                node.name,
                f"the queue of node `{node.name}` does not move: task {task.uid} (`{task.type}`) has waited for "
                f"{span(task.age)}, {several(task.waiting, 'task')} in all",
                "look at the log of the server and restart it: its queue goes on where it was",
            )
        elif node.oldest_wait > BEHIND:
            yield warning(
                "node.backlog",
                node.name,
                f"the queue of node `{node.name}` is behind: {several(node.waiting, 'task')} wait, the first of them "
                f"for {span(node.oldest_wait)}",
                "write less at a time (`miroir import --rate N`), or give the server more memory and faster disks",
            )


def room_unused(facts: Facts) -> Iterator[Finding]:
    """Databases of which a large part holds nothing: Meilisearch uses it again, and gives it back when compacted."""
    for node in facts.nodes:
        if node.stats is None:
            continue
        unused = node.stats.size - node.stats.used
        if unused > UNUSED_BYTES and unused > UNUSED_SHARE * node.stats.size:
            yield info(
                "node.unused",
                node.name,
                f"{size(unused)} of the {size(node.stats.size)} that node `{node.name}` has on its disk hold nothing",
                "they are used again for what comes; to have the room back, ask for `POST /indexes/UID/compact` at "
                "`miroir serve`",
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
    known = {str(index.map.index.stored_as): index.map.index for index in facts.state.indexes}
    for node in facts.nodes:
        failed: dict[str, list[FailedTask]] = {}
        for task in node.failed:
            if task.index in known and task.age < RECENT and task.code != DISK_FULL:
                failed.setdefault(str(task.index), []).append(task)
        for stored_as, tasks in failed.items():
            index = known[stored_as]
            blameless = all(task.kind == "invalid_request" for task in tasks)
            yield (info if blameless else warning)(
                "node.tasks",
                node.name,
                f"{several(len(tasks), 'task')} of index `{index.uid}` failed on node `{node.name}` within the last "
                f"hour, the last one: {for_users(tasks[0].message, index)}",
                "run `miroir journal list` to see which writes they were",
            )


NODE_RULES = (
    unanswered,
    slow,
    versions_differ,
    known_faults,
    engines_mixed,
    foreign,
    another_disk,
    not_a_member,
    no_longer_named,
    clocks_differ,
    queue_stands,
    room_unused,
    disk_full,
    tasks_failed,
)

"""The verbs that change which nodes a cluster has: add, drain, remove, replace.

Each is an edit of the topology file and the run that follows from it. The file is edited before the run begins, so
that `rebalance run` goes on after a kill at any instant; nodes that are taken out stay in it as drained ones until
nothing is left on them, unless they cannot be copied from. Giving the same command again finishes what was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from miroir_cli.errors import MiroirError, NodeUnavailable, Refused, TopologyInvalid, UsageError
from miroir_cli.indexes.catalog import delete_on
from miroir_cli.migration.rebalance import RUN_LOCK, Change, Outcome, make_plan, rebalance_locked, refuse
from miroir_cli.migration.step import describe_shards
from miroir_cli.model import RESERVED_INDEX, Node, NodeName
from miroir_cli.replication.members import check_newcomer
from miroir_cli.store.journal import RunState
from miroir_cli.topology.document import TopologyDocument
from miroir_cli.topology.schema import normal_url

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.plan import Plan
    from miroir_cli.migration.run import RunOptions, RunProgress
    from miroir_cli.topology.file import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChange:
    """What a verb would do: the file as it is to be while the run goes on, and the plan of the run.

    `leaving`: drained nodes that are taken out of the file when nothing is left on them. `gone`: nodes that are out of
    it from the beginning.
    """

    document: TopologyDocument
    topology: Topology
    change: Change
    plan: Plan
    leaving: tuple[NodeName, ...] = ()
    gone: tuple[NodeName, ...] = ()

    @property
    def edits(self) -> bool:
        """Whether the file is to be changed before the run."""
        return self.document.changed

    @property
    def pending(self) -> bool:
        """Whether there is anything to do at all."""
        return self.edits or bool(self.plan.steps or self.leaving or self.gone)


async def plan_addition(cluster: Cluster, node: Node) -> NodeChange:
    """Add a node. Raises `UsageError` when its name or url is taken, `ForeignNode`, `NodeUnsupported` or the node's
    own error when it cannot join. A node that the file names just so already is no mistake: its run goes on."""
    document = TopologyDocument.load(cluster.topology.path)
    if not any(_same(other, node) for other in _nodes(document)):
        _require_free(document, node)
        document.add_node(node)
    return await _planned(cluster, document, Change(title=f"add node {node.name}"), joining=node.name)


async def plan_drain(cluster: Cluster, names: Sequence[str]) -> NodeChange:
    """Move everything away from nodes that stay in the file. Raises `NotFound`, `Refused` when too few others are left,
    `NodeUnavailable` when one does not answer: what it has could not be deleted there."""
    document = TopologyDocument.load(cluster.topology.path)
    await _drain(cluster, document, [cluster.topology.node(name).name for name in names])
    return await _planned(cluster, document, Change(title=f"drain {', '.join(names)}"))


async def plan_removal(
    cluster: Cluster, names: Sequence[str], *, drain: bool = True, give_up: bool = False
) -> NodeChange:
    """Take nodes out of the cluster, after moving everything away from them.

    Without `drain` nothing is copied from them: the other replicas are the source, and the nodes may be dead. Shards
    of which only they have a copy are refused by name, or given up with `give_up`. Raises `NotFound`, `Refused`, and
    `NodeUnavailable` when a node that is to be drained does not answer.
    """
    document = TopologyDocument.load(cluster.topology.path)
    members = await cluster.store.members()
    listed = {node.name for node in cluster.topology.nodes}
    former = tuple(NodeName(name) for name in names if name not in listed and name in members)
    present = tuple(cluster.topology.node(name).name for name in names if name not in former)
    change = Change(title=f"remove {', '.join(names)}", lost=frozenset(map(NodeName, names if give_up else ())))
    if drain:
        await _drain(cluster, document, present)
        return await _planned(cluster, document, change, leaving=present, gone=former)
    for name in present:
        document.remove_node(name)
    return await _planned(cluster, document, change, gone=(*former, *present))


async def plan_replacement(cluster: Cluster, old: str, *, name: str, url: str, give_up: bool = False) -> NodeChange:
    """Put another node in the place of one: it gets its group, zone, weight and key source, and what the old one had.

    An old node that answers is drained beside the new one and taken out of the file in the end. A dead one is out of
    it at once; the other replicas are the source, and what only it had is refused by name, or given up with `give_up`.
    Raises as `plan_addition` and `plan_removal` do, and `UsageError` for a node that was in the cluster before.
    """
    if name == old:
        raise UsageError(
            f"the node that replaces `{old}` needs a name of its own",
            hint="a node whose address has changed gets its new `url` in the topology file",
        )
    document = TopologyDocument.load(cluster.topology.path)
    title, new = f"replace {old} by {name}", NodeName(name)
    gone: tuple[NodeName, ...] = (NodeName(old),)
    begun = any(node.name == name and _same_url(node.url, url) for node in _nodes(document))
    if begun and all(node.name != old for node in _nodes(document)):
        gone = gone if old in await cluster.store.members() else ()
        lost = frozenset(gone if give_up else ())
        return await _planned(cluster, document, Change(title=title, lost=lost), joining=new, gone=gone)
    before = cluster.topology.node(old)
    if begun and not before.drained and new in await cluster.store.members():
        raise UsageError(
            f"node `{name}` is in the cluster already and cannot take the place of `{old}`",
            hint=f"name a new one, or go on with one node less: `miroir node remove {old}`",
        )
    answers = not _same_url(before.url, url) and await _answers(cluster, before.name)
    if not begun:
        node = replace(before, name=new, url=url.rstrip("/"), drained=False)
        _require_free(document, node, but=before.name)
        document.replace_node(old, node)
        if answers:
            document.add_node(replace(before, drained=True))
    elif not answers:
        document.remove_node(old)
    elif not before.drained:
        document.change_node(old, drained=True)
    if answers:
        return await _planned(cluster, document, Change(title=title), joining=new, leaving=gone)
    lost = frozenset(gone if give_up else ())
    return await _planned(cluster, document, Change(title=title, lost=lost), joining=new, gone=gone)


async def carry_out(
    cluster: Cluster,
    wanted: NodeChange,
    *,
    options: RunOptions | None = None,
    report: Callable[[RunProgress], None] = lambda progress: None,
) -> Outcome:
    """Write the file, run, and take leave of the nodes on which nothing is left; no other run comes between.

    Raises `Locked` before anything is written while another process drives a run, `TopologyInvalid` when the file was
    changed since the plan was made, and what `rebalance` raises.
    """
    async with cluster.locks.once(RUN_LOCK), cluster.with_topology(wanted.topology) as changed:
        wanted.document.save()
        outcome = await rebalance_locked(changed, wanted.change, options=options, report=report)
        if outcome.result is None or outcome.result.run.state is RunState.DONE:
            outcome = replace(outcome, expelled=(*outcome.expelled, *await _part_with(changed, wanted.leaving)))
    for name in wanted.gone:
        if name in outcome.expelled and name in cluster.fleet:
            await _delete_marker(cluster, name)
    return outcome


async def _planned(
    cluster: Cluster,
    document: TopologyDocument,
    change: Change,
    *,
    joining: NodeName | None = None,
    leaving: tuple[NodeName, ...] = (),
    gone: tuple[NodeName, ...] = (),
) -> NodeChange:
    try:
        topology = document.topology()
    except TopologyInvalid as error:
        if joining is not None:
            raise
        why = error.message.removeprefix(f"{document.path}: ")
        raise Refused(f"cannot {change.title}: then {why}", hint=error.hint) from error
    async with cluster.with_topology(topology) as changed:
        if joining is not None:
            await check_newcomer(changed, changed.fleet[joining])
        plan, _ = await make_plan(changed, change)
        await _refuse_loss(changed, plan, gone)
    refuse(plan, change)
    if not plan.lost:
        change = replace(change, lost=frozenset())
    return NodeChange(document=document, topology=topology, change=change, plan=plan, leaving=leaving, gone=gone)


async def _refuse_loss(cluster: Cluster, plan: Plan, gone: Sequence[NodeName]) -> None:
    """Raise `Refused` naming the shards that nobody else can make again."""
    shards = []
    for refusal in plan.refusals:
        if refusal.shard is not None:
            map = await cluster.map(refusal.index)
            if any(map.replica(refusal.shard, name) is not None for name in gone):
                shards.append((refusal.index, refusal.shard))
    if shards:
        raise Refused(
            f"{describe_shards(shards)}: no in-sync copy answers but that on {', '.join(f'`{name}`' for name in gone)}",
            hint="bring back a node that has one (`miroir status`); a copy that is nowhere else can be drained with "
            "`miroir node remove NAME`, or given up with `--force`",
        )


async def _part_with(cluster: Cluster, names: Sequence[NodeName]) -> tuple[NodeName, ...]:
    """Take those of these nodes out of the cluster and its file on which no replica is left; which they were."""
    holding = {name for map in await cluster.maps() for name in map.nodes()}
    emptied = tuple(name for name in names if name not in holding)
    if not emptied:
        return ()
    document = TopologyDocument.load(cluster.topology.path)
    for name in emptied:
        if any(node.name == name for node in _nodes(document)):
            document.remove_node(name)
    document.topology()
    for name in emptied:
        await cluster.store.expel(name)
        await _delete_marker(cluster, name)
    document.save()
    return emptied


async def _delete_marker(cluster: Cluster, name: NodeName) -> None:
    """Another cluster may have the node, if it can be told."""
    with suppress(MiroirError):
        await delete_on(cluster.fleet[name], RESERVED_INDEX)


# -- the file, and who answers


def _nodes(document: TopologyDocument) -> tuple[Node, ...]:
    return document.topology().nodes


def _same(listed: Node, node: Node) -> bool:
    """Whether the file has the node just so; without a key of its own it has that of all nodes."""
    return listed == replace(node, url=node.url.rstrip("/"), key=node.key or listed.key)


def _same_url(one: str, other: str) -> bool:
    try:
        return normal_url(one) == normal_url(other)
    except ValueError:
        return False  # not a url: the file will not take it


def _require_free(document: TopologyDocument, node: Node, *, but: NodeName | None = None) -> None:
    """Raise `UsageError` when another node of the file has the name or the url."""
    for other in _nodes(document):
        if other.name == node.name:
            raise UsageError(
                f"node `{node.name}` is in `{document.path}` already, at {other.url}",
                hint="choose another name, or edit the file and run `miroir rebalance run`",
            )
        if other.name != but and _same_url(other.url, node.url):
            raise UsageError(f"{node.url} is node `{other.name}` already", hint="run `miroir node list`")


async def _drain(cluster: Cluster, document: TopologyDocument, names: Sequence[NodeName]) -> None:
    for name in names:
        if not await _answers(cluster, name):
            raise NodeUnavailable(
                f"node `{name}` does not answer: nothing can be copied from it or deleted on it",
                node=name,
                sent=False,
                hint=f"`miroir node remove {name} --no-drain` makes its replicas again from the others",
            )
        if not cluster.topology.node(name).drained:
            document.change_node(name, drained=True)


async def _answers(cluster: Cluster, name: NodeName) -> bool:
    try:
        await cluster.fleet[name].health(timeout=cluster.patience.answer)
    except MiroirError:
        return False
    return True

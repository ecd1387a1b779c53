"""A lost or damaged state store, made anew from what the nodes know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from miroir_cli.cluster import with_state
from miroir_cli.errors import (
    AuthenticationFailed,
    MiroirError,
    NodeRefusal,
    NodeUnavailable,
    NotFound,
    Refused,
    TopologyInvalid,
    known_instead,
)
from miroir_cli.fencing.disk import read_disk
from miroir_cli.fencing.keys import clear
from miroir_cli.model import MARKER, RESERVED_INDEX, NodeName, StoredUid
from miroir_cli.replication.copies import (
    Holding,
    Trace,
    newest_copies,
    read_aliases,
    read_copies,
    read_marker,
    read_traces,
)
from miroir_cli.replication.election import Election, cluster_of, elect, missing_nodes, reason_to_rebuild
from miroir_cli.replication.members import call_roll
from miroir_cli.replication.recover import fence
from miroir_cli.store.locks import STATE

if TYPE_CHECKING:
    from miroir_cli.cluster import Site
    from miroir_cli.node.client import NodeClient
    from miroir_cli.store.protocol import Replacement

PAGE = 1000
MOST_COPIES = 100_000
RECOVERING = "recover"
LOOK_AGAIN = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What was recovered, or would be (`done` is false): why, from which nodes, and the state that came out.

    `aside` is the name that the old state has now: a path, or how its keys begin. `waiting` counts tasks of each index
    in the nodes' queues.
    """

    reason: str
    election: Election
    holdings: tuple[Holding, ...]
    accepted: tuple[NodeName, ...]
    aside: str | None = None
    done: bool = False

    @property
    def waiting(self) -> int:
        return sum(sum(holding.waiting.values()) for holding in self.holdings)


async def recover_state(
    site: Site,
    *,
    accept_loss: Iterable[str] = (),
    dry_run: bool = False,
    timeout: float = 600.0,
    replacement: Replacement | None = None,
) -> Recovery:
    """Put a state store that is lost, damaged or older than the nodes together from the copies on all nodes.

    Waits for what is in the nodes' queues, `timeout` seconds at most: afterwards nobody knows of it. Raises `NotFound`
    for a name in `accept_loss` that no node has; `Refused`
    when nothing is lost, and when a node does not answer that is not in `accept_loss`; `ForeignNode`; `Locked` when
    another command has the state open; `NodeUnavailable` when a node does not finish in time.
    """
    if replacement is None:
        assert site.backend is not None, "opened by `open_site`"
        replacement = site.backend.replacement()
    accepted = frozenset(map(NodeName, accept_loss))
    async with site.locks.once(RECOVERING), site.locks.alone(STATE):
        found = await replacement.inspect()
        holdings = await _ask_everybody(site, accepted)
        reason = reason_to_rebuild(found, holdings)
        if reason is None:
            raise Refused(
                f"nothing to recover: {site.topology.state_place} is as new as what the nodes know",
                hint="run `miroir status` to see the state of the cluster",
            )
        if not dry_run:
            await _come_to_rest(site, holdings, timeout=timeout)
            holdings = await _ask_everybody(site, accepted)
        election = elect(holdings, accepted=accepted, above=found.cluster.epoch if found.cluster else 0)
        recovery = Recovery(
            reason=reason, election=election, holdings=holdings, accepted=tuple(sorted(_silent(accepted, holdings)))
        )
        if dry_run:
            return recovery
        await replacement.build(election.state)
        aside = await replacement.set_aside()
        await replacement.take_place()
    await _tell_nodes(site)
    return replace(recovery, aside=aside, done=True)


def _silent(accepted: Iterable[NodeName], holdings: Sequence[Holding]) -> set[NodeName]:
    return set(accepted) - {holding.node for holding in holdings}


async def _tell_nodes(site: Site) -> None:
    """New nodes and emptied disks get their markers, all nodes the new state.

    The next command that writes does it when this one cannot.
    """
    with suppress(MiroirError):
        async with with_state(site) as cluster:
            await call_roll(cluster)


# -- asking the nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What a node tells before it is known which indexes matter."""

    marker: Mapping[str, Any] | None
    documents: Sequence[Mapping[str, Any]]
    indexes: frozenset[StoredUid]


async def _ask_everybody(site: Site, accepted: frozenset[NodeName]) -> tuple[Holding, ...]:
    """What each node has; a node that does not answer stops it unless its loss is accepted."""
    answers = await site.fleet.each(_ask)
    _refuse_silence({name: a for name, a in answers.items() if isinstance(a, MiroirError)}, accepted)
    found = {name: answer for name, answer in answers.items() if isinstance(answer, _Answer)}
    holdings = tuple(
        Holding(
            node=name,
            url=site.fleet[name].node.url,
            top_task=-1,
            marker=read_marker(answer.marker),
            indexes=answer.indexes,
        )
        for name, answer in found.items()
    )
    record = cluster_of(holdings)
    if record.name != site.topology.cluster.name:
        raise TopologyInvalid(
            f"the nodes belong to cluster `{record.name}`, `{site.topology.path}` names `{site.topology.cluster.name}`",
            hint="set `[cluster] name` back, or correct the urls of the nodes",
        )
    holdings = tuple(
        replace(
            holding,
            copies=read_copies(found[holding.node].documents, cluster_id=record.id),
            aliases=read_aliases(found[holding.node].documents, cluster_id=record.id),
        )
        for holding in holdings
    )
    _refuse_unknown(site, accepted, holdings)
    uids = [copy.map.index.stored_as for copy in newest_copies(holdings).values() if copy.map]
    return await _with_tasks(site, holdings, uids, accepted)


async def _ask(client: NodeClient) -> _Answer:
    disk = await read_disk(client)
    try:
        body = {"limit": MOST_COPIES}
        documents = (await client.fetch_documents(RESERVED_INDEX, body))["results"]
    except NodeRefusal as error:
        if error.status != 404:
            raise
        documents = []
    listed = await client.get("indexes", params={"limit": MOST_COPIES})
    return _Answer(
        marker=disk.marker,
        documents=[document for document in documents if document.get("id") != MARKER],
        indexes=frozenset(StoredUid(index["uid"]) for index in listed["results"]) - {RESERVED_INDEX},
    )


async def _with_tasks(
    site: Site, holdings: Sequence[Holding], uids: Sequence[StoredUid], accepted: frozenset[NodeName]
) -> tuple[Holding, ...]:
    by_name = {holding.node: holding for holding in holdings}

    async def look(client: NodeClient) -> Holding:
        holding = by_name[client.name]
        traces: dict[tuple[StoredUid, int], Trace] = {}
        waiting: dict[StoredUid, int] = {}
        for uid in sorted(holding.indexes.intersection(uids)):
            tasks = [task async for task in _tasks(client, index=uid)]
            traces |= {(uid, incarnation): trace for incarnation, trace in read_traces(tasks).items()}
            if left := sum(task["status"] in ("enqueued", "processing") for task in tasks):
                waiting[uid] = left
        return replace(holding, traces=traces, waiting=waiting, top_task=await client.top_task())

    looks = await site.fleet.each(look, names=by_name)
    _refuse_silence({name: a for name, a in looks.items() if isinstance(a, MiroirError)}, accepted)
    return tuple(look for look in looks.values() if isinstance(look, Holding))


async def _tasks(client: NodeClient, **params: Any) -> AsyncIterator[dict[str, Any]]:
    """All tasks that match, newest first."""
    start: dict[str, Any] = {}
    while True:
        page = await client.tasks(limit=PAGE, **params, **start)
        for task in page["results"]:
            yield task
        if page.get("next") is None:
            return
        start = {"from": page["next"]}


# -- refusing


def _refuse_silence(silent: Mapping[NodeName, MiroirError], accepted: frozenset[NodeName]) -> None:
    left = {name: error for name, error in silent.items() if name not in accepted}
    for error in left.values():
        if isinstance(error, AuthenticationFailed):
            raise error
    if left:
        _refuse(left, "; ".join(error.message for error in left.values()))


def _refuse_unknown(site: Site, accepted: frozenset[NodeName], holdings: Sequence[Holding]) -> None:
    missing = missing_nodes(holdings, accepted)
    if missing:
        named = ", ".join(f"`{name}`" for name in missing)
        _refuse(missing, f"{named}, which had a part of an index, cannot be asked: not in the topology file")
    known = set(site.fleet) | {
        name for copy in newest_copies(holdings).values() if copy.map for name in copy.map.nodes()
    }
    for name in sorted(accepted - known):
        raise NotFound(
            f"no node is called `{name}`", hint=known_instead(name, sorted(known), listing="miroir node list")
        )


def _refuse(names: Iterable[NodeName], why: str) -> None:
    options = [f"--accept-loss {name}" for name in names]
    them = "it" if len(options) == 1 else "them"
    raise Refused(
        f"the state cannot be recovered without asking every node: {why}",
        hint=f"bring {them} back, or add `{' '.join(options)}` if what nobody else has may be lost",
    )


# -- coming to rest


async def _come_to_rest(site: Site, holdings: Sequence[Holding], *, timeout: float) -> None:
    """Wait until nothing that was sent can still arrive, and all that has arrived was done."""
    names = [holding.node for holding in holdings]
    guarded = [name for name in names if site.fleet[name].has_key]
    await site.fleet.all(lambda client: clear(client, timeout=site.patience.answer), names=guarded)
    silent = set(names) - set(await fence(site, names))
    if silent:
        raise NodeUnavailable(f"node `{min(silent)}` does not answer any more", node=min(silent), sent=False)
    uids: set[StoredUid] = {RESERVED_INDEX, *(copy.stored_as for copy in newest_copies(holdings).values())}
    deadline = time.monotonic() + timeout
    await site.fleet.all(lambda client: _queue_empty(client, uids, deadline=deadline, timeout=timeout), names=names)


async def _queue_empty(client: NodeClient, uids: set[StoredUid], *, deadline: float, timeout: float) -> None:
    while True:
        left = 0
        async for task in _tasks(client, statuses="enqueued,processing"):
            left += task.get("indexUid") in uids
        if not left:
            return
        if time.monotonic() > deadline:
            raise NodeUnavailable(
                f"node `{client.name}` has {left} tasks of the cluster's indexes left after {timeout:g} s",
                node=client.name,
                sent=True,
                hint="run the same command again: it goes on waiting; nothing was changed yet",
            )
        await asyncio.sleep(LOOK_AGAIN)

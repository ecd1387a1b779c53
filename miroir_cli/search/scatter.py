"""`search`: one query over all shards of an index, answered as one node would.

Map, plan, all nodes at once, end check, merge. Source of the end check: rule E1 of the protocol. An answer is complete,
or it says what is missing, or there is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from miroir_cli.errors import (
    AuthenticationFailed,
    MiroirError,
    NodeRefusal,
    NodeUnavailable,
    ShardUnavailable,
    StateUnavailable,
    TemporaryError,
    UsageError,
)
from miroir_cli.model import IndexMap, Json, NodeName, ReplicaState, ShardId
from miroir_cli.search.gather import LATE_AFTER, Call, Gathered, gather
from miroir_cli.search.merge import NodeAnswer, merge, needs_count
from miroir_cli.search.plan import Planner
from miroir_cli.search.refusal import in_the_clients_words, means_the_node
from miroir_cli.search.request import Prepared, prepare

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

TIMEOUT = 30.0
"""Seconds after which a node that has not answered counts as failed."""

ATTEMPTS = 5
"""How often a query starts again, or asks for shards again, because the cluster changed under it."""

SETTINGS_LAG = 0.2
"""Seconds to wait before asking again when nodes disagree on whether a request is right."""

NAMED = 10
"""How many shards an error names."""

Partial = Literal["error", "allow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How a search deals with trouble; `partial` None takes the topology's word."""

    partial: Partial | None = None
    late_after: float = LATE_AFTER
    timeout: float = TIMEOUT


async def search(cluster: Cluster, uid: str, request: Json, *, options: SearchOptions | None = None) -> dict[str, Any]:
    """The body that one Meilisearch with all documents would answer to `POST /indexes/{uid}/search`.

    With `"partial": true` and `"missingShards"` added when shards have no in-sync replica that answers and that was
    allowed. Raises `ShardUnavailable` naming them otherwise, `NodeRefusal` in a node's own words when the request is
    wrong, `ReservedField` and `UsageError` for what cannot be asked, `IndexNotFound`.
    """
    query = _Query(cluster, uid, request, options or SearchOptions())
    cluster.rotation += 1
    for attempt in range(ATTEMPTS):
        try:
            return await query.run(await cluster.map(uid))
        except _Changed:
            await cluster.reload(uid)
        except _Lagging as lag:
            if attempt:
                raise in_the_clients_words(lag.refusal) from None
            await asyncio.sleep(SETTINGS_LAG)
            await cluster.reload(uid)
    raise TemporaryError(
        f"index `{uid}` changed {ATTEMPTS} times while it was searched", hint="run the same search again"
    )


class _Changed(Exception):
    """The index is not what the query was prepared for."""


class _Lagging(Exception):
    """One node refuses what another accepts: they have different settings for the moment."""

    def __init__(self, refusal: NodeRefusal) -> None:
        super().__init__()
        self.refusal = refusal


class _Query:
    """One client's query, from its first question to its answer."""

    def __init__(self, cluster: Cluster, uid: str, request: Json, options: SearchOptions) -> None:
        self.cluster = cluster
        self.uid = uid
        self.request = request
        self.options = options
        self.rotation = cluster.rotation
        self.failures: Mapping[NodeName, MiroirError] = {}

    async def run(self, index_map: IndexMap) -> dict[str, Any]:
        prepared = prepare(self.request, index_map.index)
        if prepared is None:
            raise await self._let_a_node_refuse(index_map)
        try:
            answers, missing, index_map = await self._answers(index_map, prepared)
            if prepared.unmergeable and len(answers) > 1:
                raise UsageError(
                    f"cannot be merged exactly over several nodes: {prepared.unmergeable}", hint="leave one of them out"
                )
            counted = await self._count(index_map, prepared, answers) if needs_count(prepared, answers) else None
        except _Refused as refused:
            raise await self._explain(index_map, refused.refusal) from None
        if missing and (self._partial() == "error" or not answers):
            raise self._unavailable(missing)
        body = merge(prepared, answers, index_map.index, counted=counted)
        if missing:
            body["partial"] = True
            body["missingShards"] = list(missing)
        return body

    async def _answers(
        self, index_map: IndexMap, prepared: Prepared
    ) -> tuple[list[NodeAnswer], tuple[ShardId, ...], IndexMap]:
        """Valid answers, the shards without one, and the map by which they are valid."""
        call = self._call(prepared.for_shards)
        kept: list[NodeAnswer] = []
        for _ in range(ATTEMPTS):
            found = await self._gather(index_map, call, _others(index_map, kept))
            answers = [*kept, *found.answers]
            checked = await self._still_valid(index_map, answers)
            if checked and not found.missing:
                return answers, (), index_map
            fresh = await self.cluster.reload(self.uid)
            if fresh.index != index_map.index:
                raise _Changed
            if checked and fresh.epoch == index_map.epoch:
                return answers, found.missing, index_map
            kept = [answer for answer in answers if _uninterrupted(answer, fresh, since=index_map.epoch)]
            index_map = fresh
        raise TemporaryError(
            f"the shards of index `{self.uid}` moved {ATTEMPTS} times while it was searched",
            hint="run the same search again",
        )

    async def _gather(self, index_map: IndexMap, call: Call, shards: Sequence[ShardId] | None) -> Gathered:
        found = await gather(
            planner_of(self.cluster, index_map),
            call,
            rotation=self.rotation,
            shards=shards,
            failures=self.failures,
            late_after=self.options.late_after,
        )
        self.failures = found.failures
        if found.refusal is not None:
            raise _Refused(found.refusal)
        return found

    async def _count(
        self, index_map: IndexMap, prepared: Prepared, answers: Sequence[NodeAnswer]
    ) -> Sequence[NodeAnswer]:
        """Answers for the same shards that only count."""
        shards = [shard for answer in answers for shard in answer.shards]
        found = await self._gather(index_map, self._call(prepared.for_count), shards)
        if found.missing:
            raise self._unavailable(found.missing)
        if not await self._still_valid(index_map, found.answers):
            raise _Changed
        return found.answers

    def _call(self, body: Any) -> Call:
        async def call(node: NodeName, shards: tuple[ShardId, ...]) -> dict[str, Any]:
            try:
                async with asyncio.timeout(self.options.timeout):
                    return await self.cluster.fleet[node].search(self.uid, body(shards), timeout=self.options.timeout)
            except TimeoutError:
                raise NodeUnavailable(
                    f"node `{node}` did not answer within {self.options.timeout:g} s", node=node, sent=True
                ) from None
            except NodeRefusal as refusal:
                if means_the_node(refusal):
                    raise NodeUnavailable(f"node `{node}`: {refusal.message}", node=node, sent=True) from refusal
                raise

        return call

    async def _still_valid(self, index_map: IndexMap, answers: Sequence[NodeAnswer]) -> bool:
        used: dict[NodeName, list[ShardId]] = {}
        for answer in answers:
            used.setdefault(answer.node, []).extend(answer.shards)
        try:
            return await self.cluster.still_valid(index_map, used)
        except StateUnavailable:
            if self._partial() == "error":
                raise
            return True

    async def _explain(self, index_map: IndexMap, refusal: NodeRefusal) -> Exception:
        """What to raise for a refusal: the words of a node that was asked the client's own request.

        Another node than the one that refused is asked, if there is one: if it accepts, the settings differ.
        """
        names = [name for name in index_map.nodes() if name in self.cluster.fleet and name not in self.failures]
        others = [name for name in names if name != refusal.node]
        replayed = await self._replay([*others, NodeName(refusal.node)])
        return _Lagging(refusal) if replayed is None else in_the_clients_words(replayed, index_map.index.settings)

    async def _let_a_node_refuse(self, index_map: IndexMap) -> Exception:
        """The words of a node for a request with parts of a wrong type."""
        refusal = await self._replay([name for name in index_map.nodes() if name in self.cluster.fleet])
        if refusal is None:
            return UsageError("the request has a part of a type that miroir cannot read")
        return in_the_clients_words(refusal, index_map.index.settings)

    async def _replay(self, names: Sequence[NodeName]) -> NodeRefusal | None:
        """The refusal of the first of the nodes that answers to the original request; None if it accepts it."""
        problem: MiroirError | None = None
        for name in names:
            try:
                await self.cluster.fleet[name].search(self.uid, self.request, timeout=self.options.timeout)
            except NodeRefusal as refusal:
                if not means_the_node(refusal):
                    return refusal
                problem = refusal
            except (NodeUnavailable, AuthenticationFailed) as error:
                problem = error
            else:
                return None
        raise ShardUnavailable(f"no node of index `{self.uid}` answers", hint=problem.message if problem else None)

    def _partial(self) -> Partial:
        return self.options.partial or self.cluster.topology.cluster.partial

    def _unavailable(self, missing: Sequence[ShardId]) -> ShardUnavailable:
        why = "; ".join(sorted({error.message for error in self.failures.values()}))
        return ShardUnavailable(
            f"index `{self.uid}`: no in-sync replica answers for {_named(missing)}" + (f" ({why})" if why else ""),
            hint="run `miroir status`, or search with `--partial allow`",
        )


def _named(shards: Sequence[ShardId]) -> str:
    shown = ", ".join(map(str, shards[:NAMED]))
    more = f" and {len(shards) - NAMED} more" if len(shards) > NAMED else ""
    return f"shard{'s' if len(shards) > 1 else ''} {shown}{more}"


class _Refused(Exception):
    """A node found the request wrong."""

    def __init__(self, refusal: NodeRefusal) -> None:
        super().__init__()
        self.refusal = refusal


def planner_of(cluster: Cluster, index_map: IndexMap) -> Planner:
    """The planner of a map, kept as long as the map is."""
    key = f"search/{index_map.index.uid}"
    kept = cluster.session.get(key)
    if isinstance(kept, tuple) and kept[0] is index_map:
        found: Planner = kept[1]
        return found
    planner = Planner(index_map, cluster.topology.groups())
    cluster.session[key] = (index_map, planner)
    return planner


def _others(index_map: IndexMap, answers: Iterable[NodeAnswer]) -> list[ShardId] | None:
    """The shards without an answer; None for all of them."""
    answered = {shard for answer in answers for shard in answer.shards}
    if not answered:
        return None
    return [ShardId(shard) for shard in range(index_map.index.shards) if shard not in answered]


def _uninterrupted(answer: NodeAnswer, fresh: IndexMap, *, since: int) -> bool:
    """Whether every replica that the answer came from has been in sync since the epoch of the older map."""
    serving = {
        replica.shard
        for replica in fresh.replicas
        if replica.node == answer.node and replica.state is ReplicaState.SERVING and replica.since <= since
    }
    return serving.issuperset(answer.shards)

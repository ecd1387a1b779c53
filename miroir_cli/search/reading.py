"""A read over the shards of an index: questions to its nodes, checked at the end, refusals in the client's words.

Everything that reads more than one document goes this way: map, plan, all nodes at once, end check. Source of the end
check: rule E1 of the protocol. What comes back is complete, or it says what is missing, or there is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from miroir_cli import metrics
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
from miroir_cli.model import Index, IndexMap, NodeName, ReplicaState, ShardId, shards_named
from miroir_cli.search.gather import LATE_AFTER, TIMEOUT, Call, Gathered, gather
from miroir_cli.search.plan import Planner
from miroir_cli.search.refusal import in_the_clients_words, means_the_node

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import StoredUid
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.merge import NodeAnswer

Result = TypeVar("Result")

ATTEMPTS = 5
"""How often a read starts again, or asks for shards again, because the cluster changed under it."""

SETTINGS_LAG = 0.2
"""Seconds to wait before asking again when nodes disagree on whether a request is right."""

MOST_READ = 20_000

PARTIAL = "partial"
MISSING = "missingShards"
"""What a partial answer has beside what Meilisearch answers."""

NAMED = 10
"""How many shards an error names."""

Partial = Literal["error", "allow"]
Question = Callable[["NodeClient", "tuple[ShardId, ...]"], Awaitable[dict[str, Any]]]
Replay = Callable[["NodeClient", "StoredUid", float], Awaitable[Any]]
"""Puts a client's own request to a node, about the index of this name there, within so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How a read deals with trouble; `partial` None takes the topology's word.

    `most_read`: documents read at most for what the nodes cannot find or count by themselves.
    """

    partial: Partial | None = None
    most_read: int = MOST_READ
    late_after: float = LATE_AFTER
    timeout: float = TIMEOUT


class Reader:
    """One client's read of one index, from its first question to its answer.

    `uid` is the name by which it was asked for: the index's own, or an alias. `map` is the map by which the latest
    answers are valid. `replay` puts the client's own request to a node, for
    the words of a refusal.
    """

    def __init__(
        self, cluster: Cluster, uid: str, *, replay: Replay, options: SearchOptions, index_map: IndexMap
    ) -> None:
        self.cluster = cluster
        self.uid = uid
        self.options = options
        self.map = index_map
        self.rotation = cluster.rotation
        self._replay_with = replay
        self._failures: Mapping[NodeName, MiroirError] = {}

    @property
    def stored_as(self) -> StoredUid:
        """What the index is called on the nodes."""
        return self.map.index.stored_as

    async def ask(
        self, question: Question, shards: Sequence[ShardId] | None = None
    ) -> tuple[list[NodeAnswer], tuple[ShardId, ...]]:
        """Valid answers that share no shard, and those of `shards` (default: all) without one.

        Raises `ShardUnavailable` for missing shards unless partial answers are allowed and there is some answer.
        """
        answers, missing = await self._ask(question, shards)
        if missing and (self._partial() == "error" or not answers):
            raise self._unavailable(missing)
        if missing:
            metrics.PARTIAL_RESPONSES.inc()
        if shards is not None:
            metrics.NARROWED.inc()
        return answers, missing

    async def ask_all(self, question: Question, shards: Sequence[ShardId]) -> list[NodeAnswer]:
        """Answers for all of `shards`, which other questions of this read were answered for. Never a part of them."""
        answers, missing = await self._ask(question, shards)
        if missing:
            raise self._unavailable(missing)
        return answers

    async def let_a_node_refuse(self) -> Exception:
        """The words of a node for a request with parts of a wrong type."""
        refusal = await self._replay([name for name in self.map.nodes() if name in self.cluster.fleet])
        if refusal is None:
            return UsageError("the request has a part of a type that miroir cannot read")
        return in_the_clients_words(refusal, self.map.index)

    async def _ask(
        self, question: Question, shards: Sequence[ShardId] | None
    ) -> tuple[list[NodeAnswer], tuple[ShardId, ...]]:
        call = self._call(question)
        kept: list[NodeAnswer] = []
        for _ in range(ATTEMPTS):
            found = await self._gather(call, _others(self.map, kept, shards))
            answers = [*kept, *found.answers]
            checked = await self._still_valid(answers)
            if checked and not found.missing:
                return answers, ()
            fresh = await self.cluster.reload_named(self.uid)
            if fresh.index != self.map.index:
                raise _Changed
            if checked and fresh.epoch == self.map.epoch:
                return answers, found.missing
            kept = [answer for answer in answers if _uninterrupted(answer, fresh, since=self.map.epoch)]
            self.map = fresh
        raise TemporaryError(
            f"the shards of index `{self.uid}` moved {ATTEMPTS} times while it was searched",
            hint="run the same search again",
        )

    async def _gather(self, call: Call, shards: Sequence[ShardId] | None) -> Gathered:
        found = await gather(
            planner_of(self.cluster, self.map),
            call,
            rotation=self.rotation,
            shards=shards,
            failures=self._failures,
            late_after=self.options.late_after,
            timeout=self.options.timeout,
            watch=self.cluster.watch,
        )
        self._failures = found.failures
        if found.refusal is not None:
            raise await self._explain(found.refusal) from None
        return found

    def _call(self, question: Question) -> Call:
        async def call(node: NodeName, shards: tuple[ShardId, ...]) -> dict[str, Any]:
            try:
                return await question(self.cluster.fleet[node], shards)
            except NodeRefusal as refusal:
                if means_the_node(refusal):
                    raise NodeUnavailable(f"node `{node}`: {refusal.message}", node=node, sent=True) from refusal
                raise

        return call

    async def _still_valid(self, answers: Sequence[NodeAnswer]) -> bool:
        used: dict[NodeName, list[ShardId]] = {}
        for answer in answers:
            used.setdefault(answer.node, []).extend(answer.shards)
        return await self.cluster.still_valid(self.map, used)

    async def _explain(self, refusal: NodeRefusal) -> Exception:
        """What to raise for a refusal: the words of a node that was asked the client's own request.

        Another node than the one that refused is asked, if there is one: if it accepts, the settings differ.
        """
        names = [name for name in self.map.nodes() if name in self.cluster.fleet and name not in self._failures]
        others = [name for name in names if name != refusal.node]
        replayed = await self._replay([*others, NodeName(refusal.node)])
        return _Lagging(refusal, self.map.index) if replayed is None else in_the_clients_words(replayed, self.map.index)

    async def _replay(self, names: Sequence[NodeName]) -> NodeRefusal | None:
        """The refusal of the first of the nodes that answers to the original request; None if it accepts it."""
        problem: MiroirError | None = None
        for name in names:
            try:
                await self._replay_with(self.cluster.fleet[name], self.stored_as, self.options.timeout)
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
        why = "; ".join(sorted({error.message for error in self._failures.values()}))
        return ShardUnavailable(
            f"index `{self.uid}`: no in-sync replica answers for {shards_named(missing, most=NAMED)}"
            + (f" ({why})" if why else ""),
            hint="run `miroir status`, or search with `--partial allow`",
        )


async def read(
    cluster: Cluster,
    uid: str,
    work: Callable[[Reader], Awaitable[Result]],
    *,
    replay: Replay,
    options: SearchOptions | None = None,
) -> Result:
    """What `work` makes of a reader; it starts again, with a new reader, when the index changed under it, or its name
    came to stand for another one. `uid` may be an alias.

    Raises what `work` raises, `ShardUnavailable`, `NodeRefusal` in a node's own words, `IndexNotFound`, `MultiAlias`
    for the name of several, and `TemporaryError` for an index that does not hold still.
    """
    cluster.rotation += 1
    chosen = options or SearchOptions()
    trouble: MiroirError | None = None
    for attempt in range(ATTEMPTS):
        reader = Reader(cluster, uid, replay=replay, options=chosen, index_map=await cluster.named(uid))
        try:
            return await work(reader)
        except _Changed:
            await cluster.reload_named(uid)
        except MiroirError as error:
            if not await _is_another(cluster, reader.map):
                raise
            trouble = error
        except _Lagging as lag:
            if attempt:
                raise in_the_clients_words(lag.refusal, lag.index, settings={}) from None
            await asyncio.sleep(SETTINGS_LAG)
            await cluster.reload_named(uid)
    raise trouble or TemporaryError(
        f"index `{uid}` changed {ATTEMPTS} times while it was searched", hint="run the same search again"
    )


async def _is_another(cluster: Cluster, index_map: IndexMap) -> bool:
    """Whether an index is not what it was when a read of it began: then what is wrong may be wrong with the old one.

    Raises `IndexNotFound` when it is not there any more.
    """
    try:
        return (await cluster.reload_named(index_map.name)).index != index_map.index
    except StateUnavailable:
        return False


async def all_outcomes(works: Iterable[Awaitable[Result]]) -> list[Result | MiroirError]:
    """What becomes of reads that run at once, in their order: results, or errors instead of being raised."""

    async def outcome(work: Awaitable[Result]) -> Result | MiroirError:
        try:
            return await work
        except MiroirError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(outcome(work)) for work in works]
    return [task.result() for task in tasks]


class _Changed(Exception):
    """The index is not what the read was prepared for."""


class _Lagging(Exception):
    """One node refuses what another accepts: they have different settings for the moment."""

    def __init__(self, refusal: NodeRefusal, index: Index) -> None:
        super().__init__()
        self.refusal = refusal
        self.index = index


def planner_of(cluster: Cluster, index_map: IndexMap) -> Planner:
    """The planner of a map, kept as long as the map is."""
    key = f"search/{index_map.name}"
    kept = cluster.session.get(key)
    if isinstance(kept, tuple) and kept[0] is index_map:
        found: Planner = kept[1]
        return found
    planner = Planner(index_map, cluster.topology.groups())
    cluster.session[key] = (index_map, planner)
    return planner


def marked(body: dict[str, Any], missing: Sequence[ShardId]) -> dict[str, Any]:
    """The body, with the shards that it lacks."""
    return {**body, PARTIAL: True, MISSING: list(missing)} if missing else body


def _others(
    index_map: IndexMap, answers: Iterable[NodeAnswer], wanted: Sequence[ShardId] | None
) -> Sequence[ShardId] | None:
    """Those of the wanted shards without an answer; None for all shards of the index."""
    answered = {shard for answer in answers for shard in answer.shards}
    if not answered:
        return wanted
    shards = map(ShardId, range(index_map.index.shards)) if wanted is None else wanted
    return [shard for shard in shards if shard not in answered]


def _uninterrupted(answer: NodeAnswer, fresh: IndexMap, *, since: int) -> bool:
    """Whether every replica that the answer came from has been in sync since the epoch of the older map."""
    serving = {
        replica.shard
        for replica in fresh.replicas
        if replica.node == answer.node and replica.state is ReplicaState.SERVING and replica.since <= since
    }
    return serving.issuperset(answer.shards)

"""`search`: one query over all shards of an index, answered as one node would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import NodeRefusal, ShardUnavailable, UsageError
from miroir_cli.model import ShardId
from miroir_cli.search.distinct_answer import answer_distinct
from miroir_cli.search.hidden import hidden_rules, hides, reveal, sort_rules
from miroir_cli.search.hybrid import (
    by_vector_alone,
    enough_by_vector,
    good_enough,
    merge_rankings,
    unmergeable,
)
from miroir_cli.search.merge import (
    SEMANTIC_HITS,
    NodeAnswer,
    Ranking,
    assemble,
    merge,
    merged_facets,
    needs_count,
    rank,
    reaches,
)
from miroir_cli.search.reading import Question, Reader, SearchOptions, marked, read
from miroir_cli.search.request import Prepared, prepare, refuse
from miroir_cli.search.rules import searchable
from miroir_cli.search.semantics import (
    CANNOT_EMBED,
    Semantics,
    checking_request,
    embedding_request,
    keyword_request,
    semantics_of,
    vector_request,
)
from miroir_cli.search.whole_facets import too_many_values, whole_facets
from miroir_cli.search.window import GEO_MARGIN

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.rank import Hit

NOTHING: Mapping[str, dict[str, Any]] = MappingProxyType({})


async def search(cluster: Cluster, uid: str, request: Json, *, options: SearchOptions | None = None) -> dict[str, Any]:
    """The body that one Meilisearch with all documents would answer to `POST /indexes/{uid}/search`.

    With `"partial": true` and `"missingShards"` added when shards have no in-sync replica that answers and that was
    allowed. Raises `ShardUnavailable` naming them otherwise, `NodeRefusal` in a node's own words when the request is
    wrong, `ReservedField` and `UsageError` for what cannot be asked, `IndexNotFound`.
    """

    async def replay(client: NodeClient, timeout: float) -> object:
        return await client.search(uid, request, timeout=timeout)

    return await read(cluster, uid, lambda reader: _search(reader, request), replay=replay, options=options)


async def _search(reader: Reader, request: Json) -> dict[str, Any]:
    refuse(request)
    asked = semantics_of(request)
    if asked is None:
        raise await reader.let_a_node_refuse()
    if asked.kind == "hybrid":
        return await _hybrid(reader, request, asked)
    found = await _find(reader, request, asked)
    return marked(assemble(found.prepared, found.answers, found.ranking), found.missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the nodes answered to a request, and what is made of it. `missing`: shards that nobody answered for."""

    prepared: Prepared
    answers: Sequence[NodeAnswer]
    ranking: Ranking
    missing: Sequence[ShardId]


async def find(reader: Reader, request: Json) -> Found:
    """Ask the nodes of an index, by words or by vectors. Raises as `search` does."""
    refuse(request)
    asked = semantics_of(request)
    if asked is None:
        raise await reader.let_a_node_refuse()
    return await _find(reader, request, asked)


async def _find(reader: Reader, request: Json, asked: Semantics) -> Found:
    if asked.kind == "semantic" and asked.vector is None:
        shards = [ShardId(shard) for shard in range(reader.map.index.shards)]
        vector = await _embed(reader, embedding_request(request, asked), shards)
        request = vector_request(request, asked, vector or ())
    prepared = await _prepared(reader, request)
    answers, missing = await _ask(reader, prepared)
    if prepared.distinct and len(answers) > 1 and (prepared.window.needed or prepared.window.pages):
        ranking = await answer_distinct(reader, prepared, answers)
    else:
        ranking = await _ranking(reader, prepared, answers)
    return Found(prepared=prepared, answers=answers, ranking=ranking, missing=missing)


async def _hybrid(reader: Reader, request: Json, asked: Semantics) -> dict[str, Any]:
    """A search by words and, unless what these find is good enough over all shards, by vectors."""
    index = reader.map.index
    words = await _prepared(reader, keyword_request(request), scored=True)
    answers, missing = await _ask(reader, words)
    shards = [shard for answer in answers for shard in answer.shards]
    if why := unmergeable(words, index.settings):
        return marked(await _whole(reader, request, shards, why), missing)
    by_words = await _ranking(reader, words, answers)
    vector = asked.vector
    if good_enough(by_words.hits, wanted=words.window.needed, ratio=asked.ratio):
        await _ask_one(reader, checking_request(request), shards)
        vector = None
    elif vector is None:
        vector = await _embed(reader, embedding_request(request, asked), shards, may_fail=True)
    if vector is None:
        return marked({**assemble(words, answers, by_words), SEMANTIC_HITS: 0}, missing)
    near = await _prepared(reader, vector_request(request, asked, vector), scored=True)
    found = by_vector_alone(await reader.ask_all(_put(reader, near), shards))
    by_vector = rank(near, found, index, listed=await _listed(reader, near, found, above=True))
    ranking = merge_rankings(by_vector, by_words, near, ratio=asked.ratio, searchable=searchable(index.settings))
    if near.threshold and not near.window.pages and len(found) > 1 and enough_by_vector(by_vector, near):
        counted = await _count(reader, near, found)
        listed = await _listed(reader, near, counted, above=False)
        facets = merged_facets(listed, near.facets) if listed and near.facets else None
        ranking = replace(ranking, total=sum(answer.total for answer in counted), facets=facets)
    return marked(assemble(near, found, ranking), missing)


async def _whole(reader: Reader, request: Json, shards: Sequence[ShardId], why: str) -> dict[str, Any]:
    """What a node answers that has all of the shards. Raises `UsageError` saying `why` where several have them."""
    prepared = await _prepared(reader, request)
    answers = await reader.ask_all(_put(reader, prepared), shards)
    if len(answers) > 1:
        raise _not_exact(why)
    return merge(prepared, answers, reader.map.index)


async def _prepared(reader: Reader, request: Json, *, scored: bool = False) -> Prepared:
    prepared = prepare(request, reader.map.index, scored=scored)
    if prepared is None:
        raise await reader.let_a_node_refuse()
    return prepared


async def _ask(reader: Reader, prepared: Prepared) -> tuple[list[NodeAnswer], tuple[ShardId, ...]]:
    """Answers with all the hits that decide, and the shards without one."""
    more = GEO_MARGIN
    answers, missing = await reader.ask(_put(reader, prepared), prepared.shards)
    while prepared.by_distance and len(answers) > 1 and not reaches(prepared, answers, reader.map.index, more):
        more *= 10
        answers, missing = await reader.ask(_put(reader, prepared, more), prepared.shards)
    return answers, missing


def _put(reader: Reader, prepared: Prepared, more: int = GEO_MARGIN) -> Question:
    async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        body = await client.search(reader.uid, prepared.for_shards(shards, more), timeout=reader.options.timeout)
        await _reveal(reader, prepared, client, body["hits"])
        return body

    return ask


async def _count(reader: Reader, prepared: Prepared, answers: Sequence[NodeAnswer]) -> list[NodeAnswer]:
    """What the shards that `answers` are about count apart."""

    async def count(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        return await client.search(reader.uid, prepared.for_count(shards), timeout=reader.options.timeout)

    return await reader.ask_all(count, [shard for answer in answers for shard in answer.shards])


async def _ranking(reader: Reader, prepared: Prepared, answers: Sequence[NodeAnswer]) -> Ranking:
    """The hits of the answers in order, counted and with facets as one node has them."""
    counted = await _count(reader, prepared, answers) if needs_count(prepared, answers) else None
    listed = await _listed(reader, prepared, counted or answers, above=counted is None)
    return rank(prepared, answers, reader.map.index, counted=counted, listed=listed)


async def _listed(
    reader: Reader, prepared: Prepared, counting: Sequence[NodeAnswer], *, above: bool
) -> Sequence[NodeAnswer] | None:
    """Answers with the client's facets, listed far enough. `above`: of what reaches the threshold."""
    if prepared.facets is None or (prepared.distinct and len(counting) == 1):
        return None
    found = await whole_facets(
        reader,
        counting,
        lambda shards: prepared.for_count(shards, above=above),
        prepared.facets,
        limit=prepared.listed,
    )
    if found is None:
        raise too_many_values(reader, prepared.listed)
    return found


async def _ask_one(
    reader: Reader, body: Json, shards: Sequence[ShardId], *, instead: Mapping[str, dict[str, Any]] = NOTHING
) -> dict[str, Any]:
    """The answer of the first node that has one. `instead`: answers that stand for refusals with a code."""

    async def ask(client: NodeClient, _: tuple[ShardId, ...]) -> dict[str, Any]:
        try:
            return await client.search(reader.uid, body, timeout=reader.options.timeout)
        except NodeRefusal as refusal:
            if refusal.node_code in instead:
                return instead[refusal.node_code]
            raise

    for shard in shards[:-1]:
        try:
            return (await reader.ask_all(ask, [shard]))[0].body
        except ShardUnavailable:
            continue
    return (await reader.ask_all(ask, [shards[-1]]))[0].body


async def _embed(
    reader: Reader, body: Json, shards: Sequence[ShardId], *, may_fail: bool = False
) -> list[float] | None:
    """The vector of the query's text, made by one node so that all look for the same; None if it failed and may."""
    instead = {CANNOT_EMBED: dict[str, Any]()} if may_fail else NOTHING
    vector: list[float] | None = (await _ask_one(reader, body, shards, instead=instead)).get("queryVector")
    return vector


def _not_exact(what: str) -> UsageError:
    return UsageError(f"cannot be merged exactly over several nodes: {what}", hint="leave one of them out")


async def _reveal(reader: Reader, prepared: Prepared, client: NodeClient, hits: list[Hit]) -> None:
    """Read sort values that a node hides from its documents."""
    if not hides(hits):
        return
    ranking_rules = reader.map.index.settings.get("rankingRules")
    rules = sort_rules(prepared.original, ranking_rules, last=prepared.view.hidden_rule)
    hidden = hidden_rules(hits, rules)
    if not hidden:
        return
    key = prepared.primary_key
    body = {
        "ids": [hit[key] for hit in hits],
        "fields": [key, *{rule.field for rule in hidden.values()}],
        "limit": len(hits),
    }
    found = await client.fetch_documents(reader.uid, body, timeout=reader.options.timeout)
    reveal(hits, hidden, {str(document[key]): document for document in found["results"]}, key)

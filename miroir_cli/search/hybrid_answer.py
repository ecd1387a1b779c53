"""A hybrid search over several nodes: by words and, unless what these find is good enough over all shards, by vectors.

Source: `search/hybrid.rs` of Meilisearch 1.50. With `distinct` each of the two rankings has one document of each value,
and so has what they are merged to (`distinct_hybrid.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from miroir_cli.errors import UsageError
from miroir_cli.search.distinct_hybrid import leg_of, merge_distinct
from miroir_cli.search.hybrid import by_vector_alone, enough_by_vector, good_enough, merge_rankings, unmergeable
from miroir_cli.search.merge import NodeAnswer, Ranking, merged_facets, rank
from miroir_cli.search.questions import (
    Found,
    ask_nodes,
    ask_one,
    counts,
    embed,
    hits_of,
    listed,
    prepared_for,
    ranking_of,
)
from miroir_cli.search.rules import searchable
from miroir_cli.search.semantics import (
    Semantics,
    checking_request,
    embedding_request,
    keyword_request,
    vector_request,
)

if TYPE_CHECKING:
    from miroir_cli.model import Json, ShardId
    from miroir_cli.search.reading import Reader
    from miroir_cli.search.request import Prepared


async def answer_hybrid(reader: Reader, request: Json, asked: Semantics) -> Found:
    """Raises `UsageError` for what several nodes cannot answer exactly, and as `search` does."""
    words = await prepared_for(reader, keyword_request(request), scored=True)
    answers, missing = await ask_nodes(reader, words)
    shards = [shard for answer in answers for shard in answer.shards]
    if why := unmergeable(reader.map.index.settings):
        return replace(await _whole(reader, request, shards, why), missing=missing)
    leg = await leg_of(reader, words, answers) if words.distinct else None
    by_words = None if leg else await ranking_of(reader, words, answers)
    hits = leg.hits if leg else by_words.hits if by_words else []
    vector = asked.vector
    if good_enough(hits, wanted=words.window.needed, ratio=asked.ratio):
        await ask_one(reader, checking_request(request), shards)
        vector = None
    elif vector is None:
        vector = await embed(reader, embedding_request(request, asked), shards, may_fail=True)
    if vector is None:
        ranking = by_words or await ranking_of(reader, words, answers)
        return Found(prepared=words, answers=answers, ranking=ranking, missing=missing)
    by_vector = vector_request(request, asked, vector, distinct=words.distinct is not None)
    near = await prepared_for(reader, by_vector, scored=True)
    found = by_vector_alone(await reader.ask_all(hits_of(reader, near), shards))
    if leg:
        ranking = await merge_distinct(reader, await leg_of(reader, near, found), leg, ratio=asked.ratio)
    else:
        assert by_words is not None
        ranking = await _merge(reader, near, found, by_words, ratio=asked.ratio)
    return Found(prepared=near, answers=found, ranking=ranking, missing=missing, by_vector=True)


async def _merge(
    reader: Reader, near: Prepared, found: Sequence[NodeAnswer], by_words: Ranking, *, ratio: float
) -> Ranking:
    index = reader.map.index
    by_vector = rank(near, found, index, listed=await listed(reader, near, found, above=True))
    ranking = merge_rankings(by_vector, by_words, near, ratio=ratio, searchable=searchable(index.settings))
    alone = len(found) < 2 and not near.window.pages  # one node has counted as far as it would for the client
    everything = not near.threshold or near.window.counts_everything
    if everything or alone or not enough_by_vector(by_vector, near):
        return ranking
    counted = await counts(reader, near, found)
    of_all = await listed(reader, near, counted, above=False)
    facets = merged_facets(of_all, near.facets) if of_all and near.facets else None
    return replace(ranking, total=sum(answer.total for answer in counted), facets=facets)


async def _whole(reader: Reader, request: Json, shards: Sequence[ShardId], why: str) -> Found:
    """What a node answers that has all of the shards. Raises `UsageError` saying `why` where several have them."""
    prepared = await prepared_for(reader, request)
    answers = await reader.ask_all(hits_of(reader, prepared), shards)
    if len(answers) > 1:
        raise UsageError(f"cannot be merged exactly over several nodes: {why}", hint="leave one of them out")
    ranking = rank(prepared, answers, reader.map.index)
    return Found(prepared=prepared, answers=answers, ranking=ranking, missing=(), by_vector=True)

"""Facets of which the nodes have listed too little: asked again, shard by shard, where the lists are shorter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import UsageError
from miroir_cli.search.facets import FacetRules, cut_short, facet_answer
from miroir_cli.search.merge import NodeAnswer

if TYPE_CHECKING:
    from miroir_cli.model import Json, ShardId
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.reading import Reader


async def whole_facets(
    reader: Reader,
    answers: Sequence[NodeAnswer],
    body: Callable[[Sequence[ShardId]], Json],
    rules: FacetRules,
    *,
    limit: int,
    every: bool = False,
) -> list[NodeAnswer] | None:
    """Answers whose facets add up to those of the whole: the given ones, or one for each shard in their place.

    `body` asks for the same facets of some shards; `limit` is how many values a node lists; `every`: all values count.
    None when a shard alone has more values than its node lists, and they may matter.
    """
    if not _cut(answers, rules, limit, every):
        return list(answers)

    async def each(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        timeout = reader.options.timeout
        return {"parts": [await client.search(reader.stored_as, body([shard]), timeout=timeout) for shard in shards]}

    found = await reader.ask_all(each, [shard for answer in answers for shard in answer.shards])
    parts = [
        NodeAnswer(node=answer.node, shards=(shard,), body=part)
        for answer in found
        for shard, part in zip(answer.shards, answer.body["parts"], strict=True)
    ]
    return None if _cut(parts, rules, limit, every) else parts


def too_many_values(reader: Reader, limit: int) -> UsageError:
    return UsageError(
        f"one shard of index `{reader.uid}` has more than {limit:,} values of a facet, too many to add up",
        hint="narrow the search with a filter, or raise `faceting.maxValuesPerFacet`",
    )


def _cut(answers: Sequence[NodeAnswer], rules: FacetRules, limit: int, every: bool) -> bool:
    parts = [facet_answer(answer.body, answer.total) for answer in answers]
    return cut_short(parts, rules, limit=limit, every=every)

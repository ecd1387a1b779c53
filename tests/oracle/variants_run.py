"""Searches with `distinct` and facets, facet searches and documents of one node and of a cluster."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from miroir_cli.model import StoredUid
from miroir_cli.search.browse import browse
from miroir_cli.search.facet_search import facet_search
from miroir_cli.search.facet_values import normalise
from tests.oracle.compare import EQUAL_COUNTS, SPELLING
from tests.oracle.run import Tally, answer_of, compare_search
from tests.oracle.variants import make_facet_search, make_fetch, make_search
from tests.oracle.world import UID, World

ESTIMATE = "count of a distinct attribute that is not filterable"


async def compare_searches(
    world: World, tally: Tally, rng: random.Random, *, queries: int, settings: dict[str, Any]
) -> None:
    for _ in range(queries):
        query = make_search(rng, settings)
        await compare_search(world, tally, query, also_known=partial(_known, query, settings))


async def compare_facet_searches(
    world: World, tally: Tally, rng: random.Random, *, queries: int, settings: dict[str, Any], mixed: bool = True
) -> None:
    """`mixed`: spellings are, so that values may be spelled, and those of equal counts chosen, otherwise."""
    named = (SPELLING, EQUAL_COUNTS) if mixed else ()
    for _ in range(queries):
        query = make_facet_search(rng, settings)
        single = await answer_of(world.single.facet_search(StoredUid(UID), query))
        cluster = await answer_of(facet_search(world.cluster, UID, query))
        name_of = dict(zip(named, named, strict=True)).get
        tally.take(query, single, cluster, wrong_in=_other_hits, name_of=name_of)


async def compare_fetches(
    world: World, tally: Tally, rng: random.Random, *, queries: int, settings: dict[str, Any], count: int
) -> None:
    for _ in range(queries):
        query = make_fetch(rng, settings, count)
        single = await answer_of(world.single.fetch_documents(StoredUid(UID), query))
        cluster = await answer_of(browse(world.cluster, UID, query))
        tally.take(query, single, cluster, wrong_in=_other_documents, name_of=lambda wrong: None)


def _other_documents(single: Any, cluster: Any) -> str | None:
    same = single == cluster and list(single) == list(cluster)
    return None if same else f"{_brief(single)}\n    {_brief(cluster)}"


def _brief(body: Any) -> str:
    keys = [each.get("id", each) for each in body["results"]]
    return f"{ {key: value for key, value in body.items() if key != 'results'} } {str(keys)[:300]}"


def _other_hits(single: Any, cluster: Any) -> str | None:
    """What differs in words, or its name."""
    one, other = ({**body, "processingTimeMs": 0} for body in (single, cluster))
    if list(one) == list(other) and one == other:
        return None
    name = _known_hits(one["facetHits"], other["facetHits"]) if list(one) == list(other) else None
    return name or f"{str(one)[:500]}\n    {str(other)[:500]}"


def _known_hits(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> str | None:
    """Other spellings; and by count other values of the least count shown, which are chosen by how they are spelled."""
    first, second = (sorted((-hit["count"], normalise(hit["value"])) for hit in hits) for hits in (one, other))
    if first == second:
        return SPELLING
    least = max(first, default=(0, ""))[0]
    same = [each for each in first if each[0] < least] == [each for each in second if each[0] < least]
    return EQUAL_COUNTS if same and len(first) == len(second) else None


def _known(query: Mapping[str, Any], settings: Mapping[str, Any], wrong: str) -> str | None:
    distinct = query.get("distinct") or settings.get("distinctAttribute")
    if wrong.startswith("estimatedTotalHits") and distinct not in settings["filterableAttributes"]:
        return ESTIMATE
    return None

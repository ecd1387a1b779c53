"""Searches by vectors: random embeddings for the corpus, semantic and hybrid queries, similar documents."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from miroir_cli.indexes.settings import DEFAULT_MAX_TOTAL_HITS
from miroir_cli.model import StoredUid
from miroir_cli.search.rules import is_relevancy
from miroir_cli.search.scatter import search
from miroir_cli.search.similar import similar
from tests.oracle.compare import ABOVE, difference, equally_near, looks_twice
from tests.oracle.corpus import Kinds, make_query
from tests.oracle.run import Tally, answer_of, compare_search
from tests.oracle.world import UID, World

DIMENSIONS = 6
EMBEDDERS = {"given": {"source": "userProvided", "dimensions": DIMENSIONS}}
DISTINCT = ("year", "color", "code", "tags", "mixed", "price")
NEAR = "order of hits that are shown equally near"
RATIOS = (0.0, 0.1, 0.3, 0.5, 0.5, 0.5, 0.7, 0.95, 1.0)


def with_vectors(rng: random.Random, documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents with embeddings around a few centres; some documents have none."""
    centres = [make_vector(rng) for _ in range(8)]
    return [{**document, "_vectors": {"given": _near(rng, centres)}} for document in documents]


def _near(rng: random.Random, centres: Sequence[Sequence[float]]) -> list[float] | None:
    if rng.random() < 0.1:
        return None
    return [round(part + rng.gauss(0, 0.4), 4) for part in rng.choice(centres)]


def make_vector(rng: random.Random) -> list[float]:
    return [round(rng.gauss(0, 1), 4) for _ in range(DIMENSIONS)]


def make_vector_query(rng: random.Random, kinds: Kinds) -> dict[str, Any]:
    """A semantic or hybrid search, with filters, sorts and pages as for words."""
    query = by_vector(rng, make_query(rng, kinds))
    if kinds.distinct and rng.random() < 0.2:
        query["distinct"] = rng.choice(DISTINCT)
    if rng.random() < 0.2:
        query["retrieveVectors"] = True
    if rng.random() < 0.3:
        query["showRankingScore"] = True
    if rng.random() < 0.08 and not {"facets", "distinct"} & query.keys():
        query["rankingScoreThreshold"] = rng.choice([0.2, 0.5, 0.7, 0.85])
    return query


def by_vector(rng: random.Random, query: dict[str, Any]) -> dict[str, Any]:
    """A search that looks at vectors as well, now and then at nothing else."""
    kept = {key: value for key, value in query.items() if key != "q" or rng.random() < 0.75}
    return {**kept, "vector": make_vector(rng), "hybrid": {"embedder": "given", "semanticRatio": rng.choice(RATIOS)}}


def make_similar_query(rng: random.Random, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A search for documents like one of these, or like none."""
    query: dict[str, Any] = {"id": rng.choice(documents)["id"], "embedder": "given"}
    asked = make_query(rng, Kinds(distinct=False, frequency=False, formatting=False))
    kept = ("filter", "limit", "offset", "attributesToRetrieve", "showRankingScore", "showRankingScoreDetails")
    query |= {key: asked[key] for key in kept if key in asked}
    if query.get("limit", 0) > 50:
        query["limit"] = 50
    if rng.random() < 0.2:
        query["retrieveVectors"] = True
    if rng.random() < 0.2:
        query["rankingScoreThreshold"] = rng.choice([0.3, 0.6, 0.9])
    if rng.random() < 0.05:
        query["id"] = "nobody"
    if rng.random() < 0.05:
        query["filter"] = "title = x"
    return query


async def compare_vectors(
    world: World, tally: Tally, rng: random.Random, *, queries: int, kinds: Kinds, settings: dict[str, Any]
) -> None:
    """Ask `queries` generated searches by vectors of both."""
    for _ in range(queries):
        query = make_vector_query(rng, kinds)
        before = len(tally.unnamed)
        await compare_search(world, tally, query, also_known=partial(_known, query, settings))
        if len(tally.unnamed) > before and await _equally_near(world.single.search, search, world, query):
            tally.unnamed.pop()
            tally.named[NEAR] += 1


def _known(query: dict[str, Any], settings: dict[str, Any], wrong: str) -> str | None:
    """The name of a difference that comes of a ranking rule that sorts by a field before one about relevancy, or of
    documents without a vector that nodes take for found by their words."""
    marks = ("attributesToHighlight", "attributesToCrop", "showMatchesPosition")
    distinct = query.get("distinct") or settings.get("distinctAttribute")
    words = query.get("q", "") if 0 < query["hybrid"]["semanticRatio"] < 1 else ""
    if distinct and words and ("-" in words or any(query.get(key) for key in marks)):
        return "documents without a vector, with distinct and marks"
    if "rankingScoreThreshold" not in query:
        return None
    rules = settings.get("rankingRules", ())
    sorts = next((place for place, rule in enumerate(rules) if ":" in rule), len(rules))
    of_pages = wrong.startswith(("totalHits", "totalPages"))
    estimated = wrong.startswith("estimatedTotalHits") or (of_pages and _ends_all(query, settings))
    if estimated and (looks_twice(query) or any(map(is_relevancy, rules[sorts:]))):
        return ABOVE
    return ABOVE if of_pages and distinct and words else None


def _ends_all(query: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a page ends where `maxTotalHits` ends all results, so that one server does not count to the end."""
    if not {"page", "hitsPerPage"} & query.keys():
        return False
    most: int = settings.get("pagination", {}).get("maxTotalHits", DEFAULT_MAX_TOTAL_HITS)
    return bool(query.get("page", 1) * query.get("hitsPerPage", 20) >= most)


async def _equally_near(
    one: Callable[..., Awaitable[Any]], several: Callable[..., Awaitable[Any]], world: World, query: dict[str, Any]
) -> bool:
    """Whether the answers differ in nothing else: nodes order by distance, of which nearness has fewer digits."""
    details = {"attributesToRetrieve": ["id"], "showRankingScore": True, "showRankingScoreDetails": True}
    single = await answer_of(one(UID, {**query, **details}))
    cluster = await answer_of(several(world.cluster, UID, {**query, **details}))
    return isinstance(single, dict) and isinstance(cluster, dict) and equally_near(single, cluster)


async def compare_similar(
    world: World, tally: Tally, rng: random.Random, *, queries: int, documents: Sequence[dict[str, Any]]
) -> None:
    """Ask both for documents similar to `queries` of the documents."""
    for _ in range(queries):
        query = make_similar_query(rng, documents)
        single = await answer_of(world.single.similar(StoredUid(UID), query))
        cluster = await answer_of(similar(world.cluster, UID, query))
        before = len(tally.unnamed)
        tally.take(query, single, cluster, wrong_in=partial(difference, query), name_of=lambda wrong: None)
        if len(tally.unnamed) > before and await _equally_near(world.single.similar, similar, world, query):
            tally.unnamed.pop()
            tally.named[NEAR] += 1

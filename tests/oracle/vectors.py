"""Searches by vectors: random embeddings for the corpus, semantic and hybrid queries, similar documents."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from miroir_cli.search.scatter import search
from miroir_cli.search.similar import similar
from tests.oracle.compare import difference, equally_near, known, without_last_rule
from tests.oracle.corpus import Kinds, make_query
from tests.oracle.run import Tally, answer_of, count_errors
from tests.oracle.world import UID, World

DIMENSIONS = 6
EMBEDDERS = {"given": {"source": "userProvided", "dimensions": DIMENSIONS}}
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
    query = make_query(rng, kinds)
    if rng.random() < 0.25:
        query.pop("q", None)
    query |= {"vector": make_vector(rng), "hybrid": {"embedder": "given", "semanticRatio": rng.choice(RATIOS)}}
    if rng.random() < 0.2:
        query["retrieveVectors"] = True
    if rng.random() < 0.3:
        query["showRankingScore"] = True
    if rng.random() < 0.08 and "facets" not in query:
        query["rankingScoreThreshold"] = rng.choice([0.2, 0.5, 0.7, 0.85])
    return query


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


async def compare_vectors(world: World, tally: Tally, rng: random.Random, *, queries: int, kinds: Kinds) -> None:
    """Ask `queries` generated searches by vectors of both."""
    for _ in range(queries):
        query = make_vector_query(rng, kinds)
        single = await answer_of(world.single.search(UID, query))
        before = len(tally.unnamed)
        _judge(tally, query, single, await answer_of(search(world.cluster, UID, query)))
        if len(tally.unnamed) > before and await _equally_near(world, query):
            tally.unnamed.pop()
            tally.named["order of hits that are shown equally near"] += 1


async def _equally_near(world: World, query: dict[str, Any]) -> bool:
    """Whether the answers differ in nothing else: nodes order by distance, of which nearness has fewer digits."""
    details = {"attributesToRetrieve": ["id"], "showRankingScore": True, "showRankingScoreDetails": True}
    single = await answer_of(world.single.search(UID, {**query, **details}))
    cluster = await answer_of(search(world.cluster, UID, {**query, **details}))
    return isinstance(single, dict) and isinstance(cluster, dict) and equally_near(single, cluster)


async def compare_similar(
    world: World, tally: Tally, rng: random.Random, *, queries: int, documents: Sequence[dict[str, Any]]
) -> None:
    """Ask both for documents similar to `queries` of the documents."""
    for _ in range(queries):
        query = make_similar_query(rng, documents)
        single = await answer_of(world.single.similar(UID, query))
        _judge(tally, query, single, await answer_of(similar(world.cluster, UID, query)))


def _judge(tally: Tally, query: dict[str, Any], single: Any, cluster: Any) -> None:
    tally.asked += 1
    if isinstance(single, str) or isinstance(cluster, str):
        count_errors(tally, query, single, cluster)
        return
    wrong = difference(query, without_last_rule(query, single), cluster)
    if wrong and (name := known(query, single, cluster, wrong)):
        tally.named[name] += 1
    elif wrong:
        tally.unnamed.append(f"{query}\n    {wrong}")

"""Ask one node and a cluster the same, and count what they answer differently."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from miroir_cli.errors import MiroirError, NodeRefusal
from miroir_cli.search.browse import browse
from miroir_cli.search.facet_search import facet_search
from miroir_cli.search.facet_values import normalise
from miroir_cli.search.scatter import search
from tests.oracle.compare import difference, known, without_last_rule
from tests.oracle.run import Tally
from tests.oracle.variants import make_facet_search, make_fetch, make_search
from tests.oracle.world import UID, World

ESTIMATE = "count of a distinct attribute that is not filterable"
SPELLING = "spelling of a facet value"
EQUAL_COUNTS = "order of equal facet counts"


async def compare_searches(
    world: World, tally: Tally, rng: random.Random, *, queries: int, settings: dict[str, Any]
) -> None:
    for _ in range(queries):
        query = make_search(rng, settings)
        single = await _answer(world.single.search(UID, query))
        cluster = await _answer(search(world.cluster, UID, query))
        tally.asked += 1
        if isinstance(single, str) or isinstance(cluster, str):
            _compare_errors(tally, query, single, cluster)
            continue
        wrong = difference(query, without_last_rule(query, single), cluster)
        if wrong is None:
            continue
        if name := known(query, single, cluster, wrong) or _known(query, settings, wrong):
            tally.named[name] += 1
        else:
            tally.unnamed.append(f"{query}\n    {wrong}")


async def compare_facet_searches(
    world: World, tally: Tally, rng: random.Random, *, queries: int, settings: dict[str, Any]
) -> None:
    for _ in range(queries):
        query = make_facet_search(rng, settings)
        single = await _answer(world.single.facet_search(UID, query))
        cluster = await _answer(facet_search(world.cluster, UID, query))
        tally.asked += 1
        if isinstance(single, str) or isinstance(cluster, str):
            _compare_errors(tally, query, single, cluster)
            continue
        one, other = ({**body, "processingTimeMs": 0} for body in (single, cluster))
        if list(one) == list(other) and one == other:
            continue
        if list(one) == list(other) and (name := _known_hits(one["facetHits"], other["facetHits"])):
            tally.named[name] += 1
        else:
            tally.unnamed.append(f"{query}\n    {str(one)[:500]}\n    {str(other)[:500]}")


async def compare_fetches(
    world: World, tally: Tally, rng: random.Random, *, queries: int, settings: dict[str, Any], count: int
) -> None:
    for _ in range(queries):
        query = make_fetch(rng, settings, count)
        single = await _answer(world.single.fetch_documents(UID, query))
        cluster = await _answer(browse(world.cluster, UID, query))
        tally.asked += 1
        if single != cluster or list(single) != list(cluster):
            tally.unnamed.append(f"{query}\n    {_brief(single)}\n    {_brief(cluster)}")


def _brief(body: Any) -> str:
    if isinstance(body, str):
        return body
    keys = [each.get("id", each) for each in body["results"]]
    return f"{ {key: value for key, value in body.items() if key != 'results'} } {str(keys)[:300]}"


def _known_hits(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> str | None:
    """Other spellings; and by count other values of the least count shown, which are chosen by how they are spelled."""
    first, second = (sorted((-hit["count"], normalise(hit["value"])) for hit in hits) for hits in (one, other))
    if first == second:
        return SPELLING
    least = max(first, default=(0, ""))[0]
    same = [each for each in first if each[0] < least] == [each for each in second if each[0] < least]
    spelled_apart = {hit["value"] for hit in one} != {normalise(hit["value"]) for hit in one}
    return EQUAL_COUNTS if same and spelled_apart and len(first) == len(second) else None


def _compare_errors(tally: Tally, query: Mapping[str, Any], single: Any, cluster: Any) -> None:
    if single != cluster:
        tally.unnamed.append(f"{query}\n    {str(single)[:300]}\n    {str(cluster)[:300]}")


async def _answer(asked: Any) -> dict[str, Any] | str:
    try:
        found: dict[str, Any] = await asked
    except NodeRefusal as refusal:
        return f"{refusal.node_code}: {refusal.message}"
    except MiroirError as error:
        return error.message
    return found


def _known(query: Mapping[str, Any], settings: Mapping[str, Any], wrong: str) -> str | None:
    distinct = query.get("distinct") or settings.get("distinctAttribute")
    if wrong.startswith("estimatedTotalHits") and distinct not in settings["filterableAttributes"]:
        return ESTIMATE
    return None

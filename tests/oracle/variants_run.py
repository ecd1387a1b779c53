"""Ask one node and a cluster the same, and count what they answer differently."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from miroir_cli.errors import MiroirError, NodeRefusal
from miroir_cli.search.scatter import search
from tests.oracle.compare import difference, known, without_last_rule
from tests.oracle.run import Tally
from tests.oracle.variants import make_search
from tests.oracle.world import UID, World

ESTIMATE = "count of a distinct attribute that is not filterable"
SORTED_THRESHOLD = "count of a threshold below a sort"


async def compare_searches(
    world: World, tally: Tally, rng: random.Random, *, queries: int, settings: dict[str, Any]
) -> None:
    for _ in range(queries):
        query = make_search(rng, settings)
        single = await _answer(world.single.search(UID, query))
        cluster = await _answer(search(world.cluster, UID, query))
        tally.asked += 1
        if isinstance(single, str) or isinstance(cluster, str):
            if single != cluster:
                tally.unnamed.append(f"{query}\n    {str(single)[:300]}\n    {str(cluster)[:300]}")
            continue
        wrong = difference(query, without_last_rule(query, single), cluster)
        if wrong is None:
            continue
        if name := known(query, single, cluster, wrong) or _known(query, settings, wrong):
            tally.named[name] += 1
        else:
            tally.unnamed.append(f"{query}\n    {wrong}")


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

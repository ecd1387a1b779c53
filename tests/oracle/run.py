"""Ask one node and a cluster the same generated queries, and count by name what they answer differently."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from miroir_cli.errors import MiroirError, NodeRefusal
from miroir_cli.search.scatter import search
from tests.oracle.compare import difference, known, without_last_rule
from tests.oracle.corpus import Kinds, make_query
from tests.oracle.world import UID, World

REFUSED = "refused as not to be merged"
SHOWN = 5


@dataclass(kw_only=True)
class Tally:
    """How many queries were asked, how many differ by each known name, and the others in full."""

    asked: int = 0
    named: Counter[str] = field(default_factory=Counter)
    unnamed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.asked} queries, {len(self.unnamed)} differ without a name"]
        lines += [f"  {count} {name}" for name, count in self.named.most_common()]
        return "\n".join([*lines, *self.unnamed[:SHOWN]])


async def compare(world: World, tally: Tally, rng: random.Random, *, queries: int, kinds: Kinds) -> None:
    """Ask `queries` generated queries of both."""
    for _ in range(queries):
        query = make_query(rng, kinds)
        single = await answer_of(world.single.search(UID, query))
        cluster = await answer_of(search(world.cluster, UID, query))
        tally.asked += 1
        if isinstance(single, str) or isinstance(cluster, str):
            count_errors(tally, query, single, cluster)
            continue
        wrong = difference(query, without_last_rule(query, single), cluster)
        if wrong and (name := known(query, single, cluster, wrong)):
            tally.named[name] += 1
        elif wrong:
            tally.unnamed.append(f"{query}\n    {wrong}")


async def answer_of(asked: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any] | str:
    """The answer, or the words of the error."""
    try:
        return await asked
    except NodeRefusal as refusal:
        return f"{refusal.node_code}: {refusal.message}"
    except MiroirError as error:
        return error.message


def count_errors(tally: Tally, query: dict[str, Any], single: Any, cluster: Any) -> None:
    """Count answers of which one at least is an error."""
    if isinstance(cluster, str) and "cannot be merged exactly" in cluster:
        tally.named[REFUSED] += 1
    elif single != cluster:
        tally.unnamed.append(f"{query}\n    {str(single)[:300]}\n    {str(cluster)[:300]}")

"""Ask one node and a cluster the same, and count by name what they answer differently.

`MIROIR_ORACLE_QUERIES` says how many requests a run over all kinds asks of real servers (6,000), `MIROIR_ORACLE_SEED`
which ones. Of every corpus there is one in which values are spelled in one way only, and one with spellings mixed, as
data that nobody has tidied have them; that one is asked one in eight of the requests.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from miroir_cli.errors import MiroirError, NodeRefusal
from miroir_cli.model import StoredUid
from miroir_cli.search.scatter import search
from tests.oracle.compare import difference, known, without_last_rule
from tests.oracle.corpus import Kinds, make_query
from tests.oracle.world import UID, World

QUERIES = int(os.environ.get("MIROIR_ORACLE_QUERIES", "6000"))
SEED = os.environ.get("MIROIR_ORACLE_SEED", "1")
SHARES = {"plain": 0.4, "variants": 0.25, "vectors": 0.15, "multi": 0.2}
"""How many of the requests each kind gets."""

APART = 0.003
"""At most this share of the answers of a run may differ without a name."""

MIXED_ONE_IN = 8
REFUSED = "refused as not to be merged"
SHOWN = 5


def share(kind: str, *, parts: int, mixed: bool) -> int:
    """How many requests one of the `parts` of a kind asks, of the corpus with spellings mixed or the other one."""
    requests = QUERIES * SHARES[kind] / parts
    return max(1, round(requests / MIXED_ONE_IN if mixed else requests - requests / MIXED_ONE_IN))


@dataclass(kw_only=True)
class Tally:
    """How many requests were asked, how many differ by each known name, and the others in full."""

    asked: int = 0
    named: Counter[str] = field(default_factory=Counter)
    unnamed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.asked} requests, {len(self.unnamed)} differ without a name"]
        lines += [f"  {count} {name}" for name, count in self.named.most_common()]
        return "\n".join([*lines, *self.unnamed[:SHOWN]])

    def take(
        self,
        request: Any,
        single: Any,
        cluster: Any,
        *,
        wrong_in: Callable[[Any, Any], str | None],
        name_of: Callable[[str], str | None],
        worded: Callable[[str], str] = str,
    ) -> None:
        """Count two answers, or the words of errors (as `worded` reads them).

        `wrong_in` says what is different in two answers, `name_of` the name of a known difference.
        """
        self.asked += 1
        if isinstance(cluster, str) and "cannot be merged exactly" in cluster:
            self.named[REFUSED] += 1
        elif isinstance(single, str) or isinstance(cluster, str):
            errors = [worded(each) if isinstance(each, str) else each for each in (single, cluster)]
            if errors[0] != errors[1]:
                self.unnamed.append(f"{request}\n    {str(single)[:1500]}\n    {str(cluster)[:1500]}")
        elif wrong := wrong_in(single, cluster):
            if name := name_of(wrong):
                self.named[name] += 1
            else:
                self.unnamed.append(f"{request}\n    {wrong}")


async def answer_of(asked: Awaitable[Any]) -> Any:
    """The answer, or the words of the error."""
    try:
        return await asked
    except NodeRefusal as refusal:
        return f"{refusal.status} {refusal.node_code}: {refusal.message}"
    except MiroirError as error:
        return error.message


async def compare(world: World, tally: Tally, rng: random.Random, *, queries: int, kinds: Kinds) -> None:
    """Ask `queries` generated queries of both."""
    for _ in range(queries):
        await compare_search(world, tally, make_query(rng, kinds))


async def compare_search(
    world: World,
    tally: Tally,
    query: dict[str, Any],
    *,
    also_known: Callable[[str], str | None] = lambda wrong: None,
) -> None:
    """Ask one search of both; `also_known` names differences besides those of `compare.py`."""
    single = await answer_of(world.single.search(StoredUid(UID), query))
    cluster = await answer_of(search(world.cluster, UID, query))

    def wrong_in(single: Any, cluster: Any) -> str | None:
        return difference(query, without_last_rule(query, single), cluster)

    def name_of(wrong: str) -> str | None:
        return known(query, single, cluster, wrong) or also_known(wrong)

    tally.take(query, single, cluster, wrong_in=wrong_in, name_of=name_of)

"""How many documents a write touched, from what each node counted for all of its shards together. Pure.

A node's task covers several shards, and each shard is on several nodes: the counts are added with weights that make
every shard count once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.model import Intent, IntentTarget, ShardId


def weigh(parts: Collection[frozenset[ShardId]], shards: frozenset[ShardId]) -> Mapping[int, Fraction] | None:
    """A weight for each part (by its place) so that those of the parts with a shard make 1, for every shard.

    None when there are no such weights. A shard that is not asked for must not be in a part that counts.
    """
    return _weigh(tuple(parts), shards)


def portions(intent: Intent, target: IntentTarget) -> Sequence[frozenset[ShardId]]:
    """The shards of a node as requests so that the nodes' counts can be added: those that no node before it has, and
    the rest, unless the counts of whole nodes have weights."""
    if weigh([each.shards for each in intent.targets], intent.shards) is not None:
        return (target.shards,)
    before = frozenset(shard for each in intent.targets if each.node < target.node for shard in each.shards)
    return tuple(part for part in (target.shards - before, target.shards & before) if part)


@lru_cache(maxsize=256)
def _weigh(parts: tuple[frozenset[ShardId], ...], shards: frozenset[ShardId]) -> Mapping[int, Fraction] | None:
    everywhere = shards.union(*parts)
    kinds = {
        (tuple(shard in part for part in parts), shard in shards) for shard in everywhere
    }  # shards in the same parts ask for the same
    rows = [[Fraction(inside) for inside in where] + [Fraction(asked)] for where, asked in sorted(kinds)]
    pivots = _eliminate(rows, len(parts))
    if pivots is None:
        return None
    return {column: rows[row][-1] for column, row in pivots.items() if rows[row][-1]}


def _eliminate(rows: list[list[Fraction]], columns: int) -> dict[int, int] | None:
    """Solve the equations in place; which row tells each column, or None when they contradict each other."""
    pivots: dict[int, int] = {}
    for column in range(columns):
        place = len(pivots)
        found = next((row for row in range(place, len(rows)) if rows[row][column]), None)
        if found is None:
            continue
        rows[place], rows[found] = rows[found], rows[place]
        factor = rows[place][column]
        rows[place] = [value / factor for value in rows[place]]
        for row, values in enumerate(rows):
            if row != place and values[column]:
                times = values[column]
                rows[row] = [value - times * pivot for value, pivot in zip(values, rows[place], strict=True)]
        pivots[column] = place
    return None if any(row[-1] for row in rows[len(pivots) :]) else pivots

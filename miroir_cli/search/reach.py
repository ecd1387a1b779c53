"""Whether the nodes sent enough hits of a sort by distance. Pure.

Positions within 1 m of the first of a rank are one rank, so that the rank of a hit depends on the hits a little nearer,
and its place in the rank on rules that come after. A node's list ends somewhere within a rank. The answer is certain
once every list goes on beyond the last rank that is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miroir_cli.search.geo import MARGIN, geo_rule
from miroir_cli.search.view import DETAILS

WHOLE_METRE = 1.0
"""Positions may be ordered by whole metres: one that comes later can be that much nearer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a list goes: the ranks of its last hit by the rules before the distance, and the distance.

    `metres` None: beyond all hits that have a position.
    """

    before: Sequence[Any]
    ascending: bool
    metres: float | None


def reach(hit: Mapping[str, Any]) -> Reach | None:
    """How far a list goes that ends with this hit; None when it is not sorted by distance."""
    before: list[Any] = []
    for name, detail in sorted((hit.get(DETAILS) or {}).items(), key=lambda item: int(item[1]["order"])):
        rule = geo_rule(name)
        if rule is not None:
            return Reach(before=before, ascending=rule.ascending, metres=detail["distance"])
        before.append((name, detail.get("typoCount", detail.get("value", detail.get("score")))))
    return None


def goes_beyond(list_end: Reach | None, needed_end: Reach | None) -> bool:
    """Whether a list that ends there has all hits of the ranks up to the last needed hit's."""
    if list_end is None or needed_end is None or list_end.metres is None or list_end.before != needed_end.before:
        return True
    if needed_end.metres is None:
        return False
    beyond = list_end.metres - needed_end.metres
    return (beyond if list_end.ascending else -beyond) > MARGIN + WHOLE_METRE

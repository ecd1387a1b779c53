"""The order of hits from several nodes: rule by rule, from the score details that every node sends. Pure.

Each hit gets a key, a flat tuple of which the smaller is the better; all keys of an answer have the same columns, so
that Python compares them without asking any code of ours. Counts are compared where the details have them, since the
fractions that make up `_rankingScore` have another base on every node.

Source: the ranking rules of Meilisearch 1.26 to 1.50 (`score_details.rs`, `new/sort.rs`). Names of rules differ:
`attribute` up to 1.4x, `attributeRank` and `wordPosition` after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from operator import itemgetter
from typing import Any

from miroir_cli.errors import UsageError
from miroir_cli.search.geo import ORDERED_BY_METRES_BELOW, GeoRule, Point, distance, geo_rule, point_of, ranks
from miroir_cli.search.view import DETAILS, GEO, values_of

Hit = dict[str, Any]
Key = tuple[Any, ...]
Column = list[Any]
Detail = dict[str, Any] | None

VECTOR_SORT = "vectorSort"
_SKIPPED = "skipped"
_NUMBER, _TEXT, _NOTHING = 0, 1, 2
_KINDS: dict[type, int] = {int: _NUMBER, float: _NUMBER, str: _TEXT, type(None): _NOTHING}
_MATCH_TYPES = {"exactMatch": 0, "matchesStart": 1, "noExactMatch": 2}
_REVERSED = bytes(max(0xFE - byte, 0) for byte in range(256))
"""Turns UTF-8 bytes, none of which is above 0xF7, into bytes that sort the other way round; 0xFF ends a text."""


def rank_keys(
    hits: Sequence[Hit],
    *,
    primary_key: str,
    candidates: int,
    ends: Sequence[int] = (),
    crowded: bool = True,
    whole: bool = False,
) -> list[Key]:
    """A key for each hit; sorting by them gives the order of one node that has all `candidates` matching documents.

    `ends` are the places of hits behind which a node has more of them. How many documents one node would sort by
    distance is not known then; `crowded` assumes that they are many.

    Equal hits are ordered by their primary keys, numbers first: the last part of each key. `whole`: keys are only
    compared as a whole, so that a rule may be left out which says the same as that part.

    Raises `UsageError` for a sort value that the nodes hide. Pinned hits have no rank: they are not for here.
    """
    identities = _identities(hits, primary_key)
    columns: list[Column] = []
    details = [hit.get(DETAILS) or {} for hit in hits]
    rules = _rules(details)
    if whole and rules and _repeats_the_key(rules[-1], details, identities, primary_key):
        rules.pop()
    for name in rules:
        rule, found = geo_rule(name), _of_each(details, name)
        if rule is None:
            columns += _columns(name, found)
        else:
            columns.append(_distances(rule, hits, found, identities, columns, _Crowd(candidates, ends, crowded)))
    decisive = [column for column in columns if column and column.count(column[0]) < len(column)]
    return list(zip(*decisive, identities, strict=True))


def by_its_vector(hit: Hit) -> bool:
    """Whether a hit was ranked by its vector, or by having none."""
    return VECTOR_SORT in (hit.get(DETAILS) or {})


def _rules(details: Sequence[dict[str, Any]]) -> list[str]:
    """The ranking rules of the query in their order: those of the hit that was ranked by most of them.

    A hit may have fewer when a node ran out of time (`skipped` marks the place); what it lacks counts as worst.
    """
    longest = max(details, key=len, default={})
    if _SKIPPED in longest:
        longest = max(details, key=lambda each: len(each) - (_SKIPPED in each))
    rules = sorted(longest.items(), key=lambda item: int(item[1]["order"]))
    return [name for name, _ in rules if name != _SKIPPED]


def _of_each(details: Sequence[dict[str, Any]], name: str) -> list[Detail]:
    try:
        return list(map(itemgetter(name), details))
    except KeyError:
        return [each.get(name) for each in details]


def _columns(name: str, found: Sequence[Detail]) -> list[Column]:
    make = _COUNTED.get(name)
    if make is not None:
        return make(found)
    if name.startswith("<hidden-rule-"):
        raise UsageError(
            "the answers cannot be merged: they are sorted by a field that `displayedAttributes` hides on the nodes",
            hint="add the field, by the very name it is sorted by, to `displayedAttributes`",
        )
    return _sort_columns(found, descending=name.endswith(":desc"))


def _sort_columns(found: Sequence[Detail], *, descending: bool) -> list[Column]:
    """Sort values as (kind, value): numbers, then texts, then nothing, in both directions."""
    values = [detail["value"] if detail else None for detail in found]
    kinds: Column = list(map(_KINDS.__getitem__, map(type, values)))
    if None in found:
        kinds = [kind if detail else inf for kind, detail in zip(kinds, found, strict=True)]
    if descending:
        return [kinds, [_reversed(value) for value in values]]
    return [kinds, [0 if value is None else value for value in values]]


def sort_key(name: str, value: float | str | None) -> Key:
    """The key of a sort rule's value, the smaller the better; `name` is the rule as the details call it."""
    return tuple(column[0] for column in _sort_columns([{"value": value}], descending=name.endswith(":desc")))


def _reversed(value: float | str | None) -> float | bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").translate(_REVERSED) + b"\xff"
    return 0 if value is None else -value


def _descending(key: str) -> Callable[[Sequence[Detail]], Column]:
    """A column of numbers of which more is better."""
    return lambda found: [-detail[key] if detail else inf for detail in found]


def _words(found: Sequence[Detail]) -> list[Column]:
    return [_descending("matchingWords")(found)]


def _typos(found: Sequence[Detail]) -> list[Column]:
    return [[detail["typoCount"] if detail else inf for detail in found]]


def _fraction(found: Sequence[Detail]) -> list[Column]:
    return [_descending("score")(found)]


def _attribute(found: Sequence[Detail]) -> list[Column]:
    return [_descending("attributeRankingOrderScore")(found), _descending("queryWordDistanceScore")(found)]


def _exactness(found: Sequence[Detail]) -> list[Column]:
    """The number of exact words is hidden for the two better kinds of match, within which it is always the same."""
    return [
        [_MATCH_TYPES[detail["matchType"]] if detail else inf for detail in found],
        [-detail.get("matchingWords", 0) if detail else inf for detail in found],
    ]


def _nearness(found: Sequence[Detail]) -> list[Column]:
    """Documents without a vector come last."""
    near = [detail["similarity"] if detail else None for detail in found]
    return [[inf if similarity is None else -similarity for similarity in near]]


_COUNTED: dict[str, Callable[[Sequence[Detail]], list[Column]]] = {
    "words": _words,
    "typo": _typos,
    "proximity": _fraction,
    "attribute": _attribute,
    "attributeRank": _fraction,
    "wordPosition": _fraction,
    "exactness": _exactness,
    VECTOR_SORT: _nearness,
}


@dataclass(frozen=True, slots=True)
class _Crowd:
    """How many documents one node would sort by distance, of which only some are at hand."""

    matching: int
    ends: Sequence[int]
    crowded: bool

    def candidates(self, places: Sequence[int], points: Sequence[Point | None]) -> int:
        """The positions among hits that are equal by the rules before, or an assumption about them."""
        located = sum(points[place] is not None for place in places)
        if self.matching < ORDERED_BY_METRES_BELOW or not set(self.ends) & set(places):
            return located
        return max(located, ORDERED_BY_METRES_BELOW if self.crowded else 0)


def _distances(
    rule: GeoRule,
    hits: Sequence[Hit],
    found: Sequence[Detail],
    identities: Sequence[Any],
    before: Sequence[Column],
    crowd: _Crowd,
) -> Column:
    """The column of a sort by distance. The details of the hits are made to name the first of their new rank."""
    groups: dict[Key, list[int]] = {}
    for place, prefix in enumerate(zip(*before, strict=True) if before else [()] * len(hits)):
        groups.setdefault(prefix, []).append(place)
    points = [point_of(hit.get(GEO)) for hit in hits]
    column: Column = [inf] * len(hits)
    for places in groups.values():
        ranked = ranks(
            [points[place] for place in places],
            [identities[place] for place in places],
            rule,
            candidates=crowd.candidates(places, points),
        )
        for place, rank in zip(places, ranked, strict=True):
            if rank is not None:
                column[place] = rank[0]
                _name_first(found[place], rule, points[places[rank[1]]])
    return column


def _name_first(detail: Detail, rule: GeoRule, point: Point | None) -> None:
    if detail is not None and point is not None:
        detail["value"] = {"lat": point[0], "lng": point[1]}
        detail["distance"] = distance(rule.target, point)


def _identities(hits: Sequence[Hit], primary_key: str) -> Sequence[Any]:
    """Primary keys, comparable with each other: the numbers themselves where all are numbers."""
    values = [hit.get(primary_key) for hit in hits]
    return values if set(map(type, values)) == {int} else [identity(hit, primary_key) for hit in hits]


def _repeats_the_key(rule: str, details: Sequence[dict[str, Any]], identities: Sequence[Any], primary_key: str) -> bool:
    """Whether a last rule orders by primary keys that are numbers, as the keys do by themselves."""
    return rule == f"{primary_key}:asc" and type(identities[0]) is int and all(rule in each for each in details)


def identity(hit: Hit, primary_key: str) -> Key:
    """The place of a document by its primary key: numbers before texts."""
    value = hit.get(primary_key)
    if value is None and "." in primary_key:
        value = next(iter(values_of(hit, primary_key)), None)
    return (_KINDS.get(type(value), _TEXT), 0 if value is None else value)

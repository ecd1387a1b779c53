"""Hybrid search over all hits: whether words alone are good enough, and the two rankings merged. Pure.

Source: `search/hybrid.rs` and `score_details.rs` of Meilisearch 1.50. Nodes must not decide that each for itself: one
has good hits for the words, another has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import zip_longest
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from miroir_cli.search.geo import geo_rule
from miroir_cli.search.merge import NodeAnswer, Ranking
from miroir_cli.search.pins import around_pins, is_pinned, separate
from miroir_cli.search.rank import VECTOR_SORT, Hit, Key, by_its_vector, identity, sort_key
from miroir_cli.search.rules import is_relevancy
from miroir_cli.search.scores import EPSILON, run_scores
from miroir_cli.search.semantics import single
from miroir_cli.search.view import DETAILS, SCORE

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.search.facet_values import Value
    from miroir_cli.search.request import Prepared

GOOD_ENOUGH = 0.45
"""How much every hit must score by its words, times their share, for the vectors not to be looked at."""

NO_VALUES: Mapping[Key, Set[Value]] = MappingProxyType({})

Group = tuple[bool, Any]
"""(whether it is a score, the score or the key of a sort)."""


def good_enough(hits: Sequence[Hit], *, wanted: int, ratio: float) -> bool:
    """Whether the hits found by words, as many as are `wanted`, answer a hybrid search alone."""
    share = single(1 - ratio)
    return len(hits) >= wanted and all(hit[SCORE] * share >= GOOD_ENOUGH for hit in hits)


def unmergeable(settings: Json) -> str | None:
    """Why hybrid searches of several nodes cannot be merged although one node's could."""
    if not any(map(is_relevancy, settings.get("rankingRules") or ("words",))):
        return "`hybrid` without a rule about relevancy in `rankingRules`"
    return None


def enough_by_vector(ranking: Ranking, prepared: Prepared) -> bool:
    """Whether a node that has everything had stopped looking for vectors with these hits."""
    return len(ranking.hits) >= prepared.window.needed


def by_vector_alone(answers: Iterable[NodeAnswer]) -> list[NodeAnswer]:
    """The answers with only those hits that a node pins or ranks by their vectors; it appends others that have the
    words."""
    return [
        replace(
            answer, body={**answer.body, "hits": [hit for hit in answer.hits if by_its_vector(hit) or is_pinned(hit)]}
        )
        for answer in answers
    ]


def merge_rankings(
    vectors: Ranking, words: Ranking, prepared: Prepared, *, ratio: float, searchable: int | None
) -> Ranking:
    """The first hits of both rankings, each document where it comes first, as many as the window needs.

    `searchable` is the number of searchable attributes, None for all.
    """
    merged = first_of_both(vectors.hits, words.hits, prepared, ratio=ratio, searchable=searchable)
    hits = with_pins_of([*words.hits, *vectors.hits], merged, prepared)
    return Ranking(hits=hits, total=vectors.total, facets=vectors.facets)


def first_of_both(
    vectors: Sequence[Hit],
    words: Sequence[Hit],
    prepared: Prepared,
    *,
    ratio: float,
    searchable: int | None,
    values: Mapping[Key, Set[Value]] = NO_VALUES,
) -> list[Hit]:
    """The ranked hits of both lists, each document once, and none that shares one of its `values` with one before."""
    seen = {identity(hit, prepared.primary_key) for hit in filter(is_pinned, [*words, *vectors])}
    taken: set[Value] = set()
    merged: list[Hit] = []
    for hit in _alternating(_ranked(vectors), _ranked(words), ratio, searchable):
        if len(merged) == prepared.window.needed:
            break
        key = identity(hit, prepared.primary_key)
        own = values.get(key, frozenset())
        if key not in seen and own.isdisjoint(taken):
            seen.add(key)
            taken |= own
            merged.append(hit)
    return merged


def with_pins_of(hits: Iterable[Hit], ranked: Iterable[Hit], prepared: Prepared) -> list[Hit]:
    """The ranked hits with those that are pinned among `hits` at their places, as many as the window needs.

    Pinned documents are not ranked: they are put to their places once the others are merged.
    """
    pinned: dict[Key, Hit] = {}
    for hit in filter(is_pinned, hits):
        pinned.setdefault(identity(hit, prepared.primary_key), hit)
    pins, _ = separate(pinned.values(), lambda hit: hit)
    return list(around_pins(pins, ranked))[: prepared.window.needed]


def _ranked(hits: Iterable[Hit]) -> list[Hit]:
    return [hit for hit in hits if not is_pinned(hit)]


def _alternating(vectors: Sequence[Hit], words: Sequence[Hit], ratio: float, searchable: int | None) -> Iterator[Hit]:
    """Both lists in their order, always the better of their next ones; equal ones by vector first."""
    shares = ratio, single(1 - ratio)
    left, right = (((hit, groups(hit, searchable)) for hit in hits) for hits in (vectors, words))
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if one is not None and (other is None or _compare(one[1], other[1], shares) >= 0):
            yield one[0]
            one = next(left, None)
        elif other is not None:
            yield other[0]
            other = next(right, None)


def _compare(one: Sequence[Group], other: Sequence[Group], shares: tuple[float, float]) -> int:
    """1 when the first hit is better, -1 when the other is, 0 when they are equal."""
    for left, right in zip_longest(one, other):
        if left is None or right is None:
            return -1 if left is None else 1
        if left[0] and right[0]:
            difference = left[1] * shares[0] - right[1] * shares[1]
            if abs(difference) > EPSILON:
                return 1 if difference > 0 else -1
        elif left[0]:
            return 1 if left[1] else -1
        elif right[0]:
            return -1 if right[1] else 1
        elif left[1] != right[1]:
            return 1 if left[1] < right[1] else -1
    return 0


def groups(hit: Hit, searchable: int | None) -> list[Group]:
    """What hits of the two kinds are compared by: every run of ranking rules as one score, and the sorts between."""
    details: Mapping[str, Any] = hit[DETAILS]
    scores = iter(run_scores(details, hit[SCORE], searchable=searchable))
    found: list[Group] = []
    in_run = False
    for name, detail in sorted(details.items(), key=lambda item: int(item[1]["order"])):
        if name == VECTOR_SORT:
            found.append((True, detail["similarity"] or 0.0))
        elif "value" in detail:
            found.append((False, _sort(name, detail)))
        elif not in_run:
            found.append((True, next(scores)))
        in_run = name != VECTOR_SORT and "value" not in detail
    return found


def _sort(name: str, detail: Mapping[str, Any]) -> Any:
    rule = geo_rule(name)
    if rule is None:
        return sort_key(name, detail["value"])
    metres = detail.get("distance")
    return inf if metres is None else metres if rule.ascending else -metres

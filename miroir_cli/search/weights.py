"""The values by which Meilisearch compares hits of different queries, read from the score details of a hit. Pure.

A node shows the fraction that each ranking rule gave a hit, and of all rules together the `_rankingScore`. Queries are
compared by one number for each run of relevancy rules and by the sort values between the runs. A single run is the
`_rankingScore` itself. Of several runs, the places behind the fractions are found again, as whole numbers: those that
make up the very `_rankingScore`.

Source: `score_details.rs` and `federated/weighted_scores.rs` of Meilisearch 1.50; how many places a rule has:
`ranking_rule_graph/*`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

from miroir_cli.search.geo import geo_rule
from miroir_cli.search.view import DETAILS, SCORE

EPSILON = 2.220446049250313e-16
MOST_TERMS = 10
"""Meilisearch reads so many words of a query."""

MOST_NEAR_PLACES = 64
"""More places than the proximity of ten words has."""

_PLACES_OF_A_POSITION = 10
_WORD = 2**32
_SAME = 1e-12


@dataclass(frozen=True, slots=True)
class Score:
    """The weighted number of a run of relevancy rules, or a weighted similarity."""

    value: float


@dataclass(frozen=True, slots=True)
class SortValue:
    """The value of a field that hits are sorted by: a number, a text in normalised form, or None."""

    ascending: bool
    value: Any


@dataclass(frozen=True, slots=True)
class Distance:
    """Metres to the point that hits are sorted by, None without a position."""

    ascending: bool
    metres: float | None


Value = Score | SortValue | Distance
Place = tuple[int, int]
"""(rank, of how many); the higher the better."""


def weighted_values(
    hit: Mapping[str, Any], *, weight: float, attributes: int | None, without: str | None
) -> list[Value] | None:
    """The values of a hit in the order in which they are compared; None when they cannot be found again.

    `attributes` is how many searchable attributes are listed, None where all are searched. `without` is the key of a
    rule that does not count: miroir's own.
    """
    details = [
        (name, detail)
        for name, detail in sorted((hit.get(DETAILS) or {}).items(), key=lambda item: int(item[1]["order"]))
        if name not in (without, "pin")
    ]
    runs = [list(run) for _, run in groupby(details, key=lambda item: _is_relevancy(item[0], item[1]))]
    relevancy = [run for run in runs if _is_relevancy(*run[0])]
    if len(relevancy) > 1:
        places = _places(relevancy, float(hit[SCORE]), attributes)
        if places is None:
            return None
        scores = iter(places)
    else:
        scores = iter([float(hit[SCORE])] * len(relevancy))
    return list(_values(runs, scores, weight))


def _values(runs: Sequence[Sequence[tuple[str, Any]]], scores: Iterator[float], weight: float) -> Iterator[Value]:
    for run in runs:
        if _is_relevancy(*run[0]):
            yield Score(next(scores) * weight)
            continue
        for name, detail in run:
            if name == "vectorSort":
                yield Score((detail["similarity"] or 0.0) * weight)
            elif (rule := geo_rule(name)) is not None:
                yield Distance(rule.ascending, detail["distance"])
            else:
                yield SortValue(name.endswith(":asc"), detail["value"])


def _is_relevancy(name: str, detail: Mapping[str, Any]) -> bool:
    return name != "vectorSort" and "value" not in detail


def _places(runs: Sequence[Sequence[tuple[str, Any]]], score: float, attributes: int | None) -> list[float] | None:
    """The number of each run: of the places that the fractions leave open, those that make up the whole score."""
    lengths = [len(run) for run in runs]
    rules = [rule for run in runs for rule in run]
    for terms in _likely_terms(rules):
        choices = [_choices(name, detail, terms, attributes) for name, detail in rules]
        for chosen in product(*choices):
            if abs(merged(place for rule in chosen for place in rule) - score) <= _SAME:
                return _by_run(chosen, lengths)
    return None


def _likely_terms(rules: Sequence[tuple[str, Any]]) -> list[int]:
    """How many words the hit was matched by, the likeliest first."""
    matching = next((int(detail["matchingWords"]) for name, detail in rules if name == "words"), 1)
    return sorted(range(1, MOST_TERMS + 1), key=lambda terms: (terms != matching, terms))


def _by_run(chosen: Sequence[tuple[Place, ...]], lengths: Iterable[int]) -> list[float]:
    found: list[float] = []
    begin = 0
    for length in lengths:
        found.append(merged(place for rule in chosen[begin : begin + length] for place in rule))
        begin += length
    return found


def merged(places: Iterable[Place]) -> float:
    """Places as the digits of one number, as a fraction of the highest; 32 bits wide, as Meilisearch's."""
    rank, most = 1, 1
    for inner, base in places:
        rank = (max(0, rank - 1) * base + inner) % _WORD
        most = most * base % _WORD
    return rank / most if most else 0.0


def _choices(name: str, detail: Mapping[str, Any], terms: int, attributes: int | None) -> list[tuple[Place, ...]]:
    """The places that a rule can have given: one, two for rules of two parts, or none if it fits nowhere."""
    by_attribute = 1 if attributes is None else 1 + (attributes - 1) * terms
    by_position = 1 + _PLACES_OF_A_POSITION * terms
    if name == "words":
        return [((int(detail["matchingWords"]), int(detail["maxMatchingWords"])),)]
    if name == "typo":
        most = int(detail["maxTypoCount"]) + 1
        return [((max(0, most - int(detail["typoCount"])), most),)]
    if name == "proximity":
        return [(place,) for most in range(1, MOST_NEAR_PLACES) for place in _place(detail["score"], most)]
    if name == "attributeRank":
        return [(place,) for place in _place(detail["score"], by_attribute)]
    if name == "wordPosition":
        return [(place,) for place in _place(detail["score"], by_position)]
    if name == "attribute":
        ranks = _place(detail["attributeRankingOrderScore"], by_attribute)
        return [(one, two) for one in ranks for two in _place(detail["queryWordDistanceScore"], by_position)]
    if name == "exactness":
        return [_exactness(detail, terms)]
    return [((0, 1),)] if name == "skipped" else []


def _exactness(detail: Mapping[str, Any], terms: int) -> tuple[Place, ...]:
    """A field that is the query, or begins with it, has all its words: their number is not shown."""
    kind = {"exactMatch": 3, "matchesStart": 2, "noExactMatch": 1}[detail["matchType"]]
    words = int(detail.get("matchingWords", terms)) + 1
    return (kind, 3), (words, int(detail.get("maxMatchingWords", terms)) + 1)


def _place(fraction: float, most: int) -> list[Place]:
    rank = round(fraction * most)
    return [(rank, most)] if abs(rank / most - fraction) <= _SAME else []


def compare(left: Sequence[Value], right: Sequence[Value]) -> int | None:
    """Positive when the left one is better, None when the values cannot be compared and the whole scores decide."""
    for one, other in zip(left, right, strict=False):
        order = _compare(one, other)
        if order is None:
            return (len(left) > len(right)) - (len(left) < len(right)) or None
        if order:
            return order
    return (len(left) > len(right)) - (len(left) < len(right))


def _compare(one: Value, other: Value) -> int | None:
    if isinstance(one, Score) and isinstance(other, Score):
        return _by_size(one.value, other.value)
    if isinstance(one, SortValue) and isinstance(other, SortValue):
        return None if one.ascending != other.ascending else _by_value(one, other)
    if isinstance(one, Distance) and isinstance(other, Distance):
        if one.ascending != other.ascending:
            return None
        if one.metres is None or other.metres is None:
            return (one.metres is not None) - (other.metres is not None)
        return _by_size(one.metres, other.metres)  # in both directions the farther wins: so does Meilisearch
    return None


def _by_size(one: float, other: float) -> int:
    return 0 if abs(one - other) <= EPSILON else 1 if one > other else -1


def _by_value(one: SortValue, other: SortValue) -> int:
    """Numbers are better than texts, and everything is better than nothing, in both directions."""
    kinds = [2 if isinstance(each.value, int | float) else 0 if each.value is None else 1 for each in (one, other)]
    if kinds[0] != kinds[1]:
        return kinds[0] - kinds[1]
    if one.value is None or one.value == other.value:
        return 0
    larger = 1 if one.value > other.value else -1
    return -larger if one.ascending else larger

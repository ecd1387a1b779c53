"""The values by which Meilisearch compares hits of different queries, read from the score details of a hit. Pure.

Queries are compared by one number for each run of relevancy rules and by the sort values between the runs.

Source: `score_details.rs` and `federated/weighted_scores.rs` of Meilisearch 1.50.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from miroir_cli.search.geo import geo_rule
from miroir_cli.search.scores import EPSILON, exact_run_scores
from miroir_cli.search.view import DETAILS, SCORE


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
    scores = exact_run_scores(dict(details), float(hit[SCORE]), searchable=attributes)
    if scores is None:
        return None
    runs = [list(run) for _, run in groupby(details, key=lambda item: _is_relevancy(item[0], item[1]))]
    return list(_values(runs, iter(scores), weight))


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

"""One answer against the other: what is different, and whether the difference is one of those that are known.

The names are those of the differences that cannot be avoided with nodes that decide alone; users find them in the
documentation of search, each with an example. Anything without a name is a bug.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miroir_cli.search.facet_values import normalise

CHANGING = ("processingTimeMs", "requestUid")

SPELLING = "spelling of a facet value"
EQUAL_COUNTS = "order of equal facet counts"
ABOVE = "estimated total above a threshold"

FEW_VALUES = ("color", "rare", "maker.name", "maker.rank", "mixed", "brand", "labels", "size", "stock")
"""Facets of less than 20 numbers and 20 texts. From 20 on Meilisearch groups values, and the groups, which depend on
how the documents came, take part in the order of equal counts (`test_ties.py`)."""

SCORES = ("_rankingScore", "_rankingScoreDetails")
BASED_ON_PATHS = ("score", "maxTypoCount", "attributeRankingOrderScore", "queryWordDistanceScore")
"""Parts of the score details that depend on what else a node has."""


def difference(query: Mapping[str, Any], expected: dict[str, Any], found: dict[str, Any]) -> str | None:
    """The first part of the answers that differs, in words; None when they say the same. Scores come last."""
    if list(expected) != list(found):
        return f"keys: {list(expected)} and {list(found)}"
    for key in expected:
        if key == "hits":
            wrong = _hits(expected[key], found[key])
        elif key == "facetDistribution":
            wrong = _facets(expected[key], found[key])
        elif key not in CHANGING and expected[key] != found[key]:
            wrong = f"{key}: {expected[key]} and {found[key]}"
        else:
            wrong = None
        if wrong:
            return wrong
    return next(filter(None, map(_scores, expected["hits"], found["hits"])), None)


def _hits(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> str | None:
    if len(expected) != len(found):
        return f"number of hits: {len(expected)} and {len(found)}"
    for place, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one != other and (wrong := _hit(one, other)):
            return f"hit {place}: {wrong}"
    return None


def _hit(expected: dict[str, Any], found: dict[str, Any]) -> str | None:
    if set(expected) != set(found):
        return f"fields {sorted(expected)} and {sorted(found)}"
    for name in expected:
        if name not in SCORES and expected[name] != found[name]:
            return f"{name}: {expected[name]} and {found[name]}"
    one, other = _comparable(expected), _comparable(found)
    return None if one == other else f"details: {one} and {other}"


def without_last_rule(query: Mapping[str, Any], single: dict[str, Any], rule: str = "id:asc") -> dict[str, Any]:
    """The single node's body without the rule that its settings share with the cluster's nodes, where it shows."""
    sorted_by = [each.rpartition(":")[0] for each in query.get("sort", ())]
    if rule.rpartition(":")[0] not in sorted_by:
        for hit in single.get("hits", ()):
            hit.get("_rankingScoreDetails", {}).pop(rule, None)
    return single


def _comparable(hit: dict[str, Any]) -> dict[str, Any]:
    """The details of a hit, without what depends on the hits beside it."""
    return {
        name: {key: value for key, value in detail.items() if key not in BASED_ON_PATHS}
        for name, detail in hit.get("_rankingScoreDetails", {}).items()
    }


def _scores(expected: dict[str, Any], found: dict[str, Any]) -> str | None:
    if any(expected.get(name) != found.get(name) for name in SCORES):
        return f"scores: {[expected.get(name) for name in SCORES]} and {[found.get(name) for name in SCORES]}"
    return None


def _facets(expected: Mapping[str, Mapping[str, int]], found: Mapping[str, Mapping[str, int]]) -> str | None:
    if list(expected) != list(found):
        return f"facets: {list(expected)} and {list(found)}"
    for name in expected:
        one, other = list(expected[name].items()), list(found[name].items())
        if one != other:
            return f"facet {name}: {one[:12]} and {other[:12]}"
    return None


def known(query: Mapping[str, Any], expected: dict[str, Any], found: dict[str, Any], wrong: str) -> str | None:
    """The name of a known difference; None for a bug."""
    if query.get("matchingStrategy") == "frequency":
        return "frequency of words, counted by each node"
    if wrong.startswith("facet ") and _same_but_spelling(expected, found):
        return SPELLING
    if wrong.startswith("facet ") and _same_but_equal_counts(expected, found):
        return EQUAL_COUNTS
    if wrong.startswith("estimatedTotalHits") and "rankingScoreThreshold" in query and looks_twice(query):
        return ABOVE
    if "hybrid" in query and _same_but_marks(expected, found):
        return "marks in hits found by vectors"
    if query.get("q") and _same_but_marks(expected, found, cropped="attributesToCrop" in query):
        return "highlighting"
    if wrong.startswith("scores:"):
        return "base of scores"
    return None


def _same_but_marks(expected: dict[str, Any], found: dict[str, Any], *, cropped: bool = False) -> bool:
    """Whether the hits differ in nothing but what is marked in them, and where texts are `cropped` around the marks."""
    without = ("_matchesPosition", "_formatted") if cropped else ("_matchesPosition",)
    one, other = _unmarked(expected["hits"], without), _unmarked(found["hits"], without)
    return bool(expected["hits"] != found["hits"] and one == other)


def _unmarked(value: Any, without: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return value.replace("<em>", "").replace("</em>", "")
    if isinstance(value, list):
        return [_unmarked(each, without) for each in value]
    if isinstance(value, dict):
        return {key: _unmarked(each, without) for key, each in value.items() if key not in without}
    return value


def equally_near(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether the hits, asked for with their details, differ, and only in the order of those that are shown equally
    near, or in which of the farthest of them are shown."""
    one, other = (list(map(_nearness, body["hits"])) for body in (expected, found))
    keys = [[hit["id"] for hit in body["hits"]] for body in (expected, found)]
    if one != other or keys[0] == keys[1]:
        return False
    groups = [
        {near: {hit["id"] for hit in body["hits"] if _nearness(hit) == near} for near in one[:-1] if near != one[-1]}
        for body in (expected, found)
    ]
    return groups[0] == groups[1]


def _nearness(hit: dict[str, Any]) -> Any:
    vector = hit["_rankingScoreDetails"].get("vectorSort")
    return hit["_rankingScore"] if vector is None else vector["similarity"]


def looks_twice(query: Mapping[str, Any]) -> bool:
    """Whether how many a node counts above a threshold depends on which hits it saw: by words and by vectors, or by
    one value of a sort after the other."""
    return bool("sort" in query or (query.get("q") and 0 < query.get("hybrid", {}).get("semanticRatio", 0) < 1))


def _same_but_equal_counts(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether the facets differ only in values whose counts are equal to another's, or to the last one shown."""
    for name, values in expected["facetDistribution"].items():
        others = found["facetDistribution"][name]
        if name in FEW_VALUES and list(map(normalise, values)) != list(map(normalise, others)):
            return False
        one = sorted((count, normalise(value)) for value, count in values.items())
        other = sorted((count, normalise(value)) for value, count in others.items())
        least = min(values.values(), default=0)
        if [entry for entry in one if entry[0] > least] != [entry for entry in other if entry[0] > least]:
            return False
        if sorted(values.values()) != sorted(others.values()):
            return False
    return True


def _same_but_spelling(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    one, other = expected.get("facetDistribution"), found.get("facetDistribution")
    if one is None or other is None:
        return False
    return bool(_normalised(one) == _normalised(other))


def _normalised(facets: Mapping[str, Mapping[str, int]]) -> Any:
    return {name: [(normalise(value), count) for value, count in values.items()] for name, values in facets.items()}

"""Random multi-searches over two indexes, and one node's answer against a cluster's."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from miroir_cli.search.facet_values import normalise
from miroir_cli.search.multi import multi_search
from tests.oracle.compare import BASED_ON_PATHS, CHANGING, EQUAL_COUNTS, FEW_VALUES, SCORES, SPELLING, equally_near
from tests.oracle.corpus import Kinds, make_query
from tests.oracle.run import Tally, answer_of
from tests.oracle.vectors import NEAR, by_vector
from tests.oracle.world import UID, World

OTHER = "others"
UIDS = (UID, UID, OTHER)
MARKS = "which words are marked"
_FACETS = ("facetDistribution", "facetsByIndex")
_OF_QUERIES = ("limit", "offset", "page", "hitsPerPage", "facets", "distinct")


def make_multi(rng: random.Random, kinds: Kinds) -> dict[str, Any]:
    """A multi-search of up to four queries, two in three of them federated. In one in four queries look at vectors."""
    queries = [{"indexUid": rng.choice(UIDS), **make_query(rng, kinds)} for _ in range(rng.choice([1, 2, 2, 3, 4]))]
    if rng.random() < 0.25:
        queries = [by_vector(rng, query) if rng.random() < 0.6 else query for query in queries]
        if rng.random() < 0.2:
            queries[-1]["retrieveVectors"] = True
    for query in queries:
        if rng.random() < 0.12:
            query["rankingScoreThreshold"] = rng.choice([0, 0.3, 0.7, 0.9, 0.99, 1])
    if rng.random() < 0.3:
        return {"queries": queries}
    if rng.random() < 0.6:
        same = queries[0].get("sort")
        for query in queries:
            query.pop("sort", None)
            if same:
                query["sort"] = same
    for query in queries:
        for key in _OF_QUERIES:
            if rng.random() < 0.99:
                query.pop(key, None)
        if rng.random() < 0.5:
            query["federationOptions"] = {"weight": rng.choice([0, 0.5, 0.9, 1, 1.2, 2])}
    return {"queries": queries, "federation": _federation(rng, kinds)}


def _federation(rng: random.Random, kinds: Kinds) -> dict[str, Any]:
    federation: dict[str, Any] = {}
    kind = rng.random()
    if kind < 0.4:
        federation |= {"limit": rng.choice([0, 1, 10, 100, 3000]), "offset": rng.choice([0, 0, 5, 70])}
    elif kind < 0.6:
        federation |= {"page": rng.choice([0, 1, 2]), "hitsPerPage": rng.choice([0, 3, 30])}
    if rng.random() < 0.4:
        names = ["color", "tags", "price", "year", "mixed", "maker.name", "nothing"]
        federation["facetsByIndex"] = {
            uid: rng.sample(names[: 7 if rng.random() < 0.1 else 6], rng.randint(0, 3)) for uid in {*UIDS[1:]}
        }
        if rng.random() < 0.5:
            federation["mergeFacets"] = rng.choice([{}, {"maxValuesPerFacet": 3}])
    if kinds.distinct and ("facetsByIndex" not in federation or rng.random() < 0.2) and rng.random() < 0.1:
        federation["distinct"] = rng.choice(["year", "color", "code"])
    return federation


async def compare_multi(
    world: World,
    tally: Tally,
    rng: random.Random,
    *,
    requests: int,
    kinds: Kinds,
    brief: bool = False,
    sorts_first: bool = False,
) -> None:
    """Ask generated multi-searches of both; what differs goes into the tally. `sorts_first`: a ranking rule of an index
    sorts by a field before one about relevancy."""
    for _ in range(requests):
        request = make_multi(rng, kinds)
        before = len(tally.unnamed)
        single = await answer_of(world.single.read("multi-search", request))
        cluster = await answer_of(multi_search(world.cluster, request))
        tally.take(
            request,
            single,
            cluster,
            wrong_in=partial(_difference, request),
            name_of=partial(_known, request, sorts_first),
            worded=partial(_wording, brief=brief),
        )
        if len(tally.unnamed) > before and "hybrid" in str(request) and await _equally_near(world, request):
            tally.unnamed.pop()
            tally.named[NEAR] += 1


async def _equally_near(world: World, request: dict[str, Any]) -> bool:
    """Whether the answers differ in nothing but the order of hits that are shown equally near."""
    details = {"attributesToRetrieve": ["id"], "showRankingScore": True, "showRankingScoreDetails": True}
    detailed = {**request, "queries": [{**query, **details} for query in request["queries"]]}
    single = await answer_of(world.single.read("multi-search", detailed))
    cluster = await answer_of(multi_search(world.cluster, detailed))
    if isinstance(single, str) or isinstance(cluster, str):
        return False
    pairs = list(zip(single.get("results", [single]), cluster.get("results", [cluster]), strict=True))
    apart = [(one, other) for one, other in pairs if _keys(one) != _keys(other)]
    return bool(apart) and all(equally_near(one, other) for one, other in apart)


def _keys(body: dict[str, Any]) -> list[Any]:
    return [hit["id"] for hit in body["hits"]]


def _wording(answer: str, *, brief: bool) -> str:
    """An error without which of several facets is named: a node names the one that it saw first. `brief`: without the
    reasons, which the embedded node leaves out."""
    return (answer.partition(" are incompatible")[0] if brief else answer).partition("in facet `")[0]


def _difference(request: dict[str, Any], single: Any, cluster: Any) -> str | None:
    if "results" not in single:
        return _between(single, cluster)
    if len(single["results"]) != len(cluster["results"]):
        return "number of results"
    for place, (one, other) in enumerate(zip(single["results"], cluster["results"], strict=True)):
        if wrong := _between(one, other):
            return f"result {place}: {wrong}"
    return None


def _between(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    if list(one) != list(other):
        return f"keys: {list(one)} and {list(other)}"
    for key in one:
        if key == "hits" or key in CHANGING or one[key] == other[key] and _text(one[key]) == _text(other[key]):
            continue
        if key in _FACETS and (name := _known_facets(_distributions(one), _distributions(other))):
            return f"{key}: {name}"
        return f"{key}: {_text(one[key])[:1500]} and {_text(other[key])[:1500]}"
    if len(one["hits"]) != len(other["hits"]):
        return f"number of hits: {len(one['hits'])} and {len(other['hits'])}"
    for place, (left, right) in enumerate(zip(one["hits"], other["hits"], strict=True)):
        if wrong := _hit(left, right):
            return f"hit {place}: {wrong}"
    return next(filter(None, map(_scores, one["hits"], other["hits"])), None)


def _hit(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    if _places_of_added(one) != _places_of_added(other):
        return f"fields {list(one)} and {list(other)}"
    for name in one:
        if name not in (*SCORES, "_federation") and one[name] != other[name]:
            if name == "_matchesPosition":
                return MARKS
            if name == "_formatted" and _without_marks(one[name]) == _without_marks(other[name]):
                return MARKS
            return f"{name}: {one[name]} and {other[name]}"
    origins = [{**hit.get("_federation", {}), "weightedRankingScore": 0} for hit in (one, other)]
    if origins[0] != origins[1]:
        return f"_federation: {one['_federation']} and {other['_federation']}"
    return None if _details(one) == _details(other) else f"details: {_details(one)} and {_details(other)}"


def _without_marks(formatted: Any) -> Any:
    if isinstance(formatted, dict):
        return {name: _without_marks(value) for name, value in formatted.items()}
    if isinstance(formatted, list):
        return list(map(_without_marks, formatted))
    return formatted.replace("<em>", "").replace("</em>", "") if isinstance(formatted, str) else formatted


def _places_of_added(hit: dict[str, Any]) -> tuple[set[str], list[str]]:
    return set(hit), [name for name in hit if name.startswith("_") and name != "_geo"]


def _details(hit: dict[str, Any]) -> Any:
    return {
        name: {key: value for key, value in detail.items() if key not in BASED_ON_PATHS}
        for name, detail in hit.get("_rankingScoreDetails", {}).items()
    }


def _scores(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    names = (*SCORES, "_federation")
    if any(one.get(name) != other.get(name) for name in names):
        return f"scores: {[one.get(name) for name in names]} and {[other.get(name) for name in names]}"
    return None


def _text(value: Any) -> str:
    """A value with the order of its keys."""
    return str(value)


def _known(request: dict[str, Any], sorts_first: bool, wrong: str) -> str | None:
    if any(query.get("matchingStrategy") == "frequency" for query in request["queries"]):
        return "frequency of words, counted by each node"
    if "scores:" in wrong:
        return "base of scores"
    below = any("rankingScoreThreshold" in query and (sorts_first or query.get("sort")) for query in request["queries"])
    if below and ("otalHits: " in wrong or "totalPages: " in wrong or "facet" in wrong):
        return "how many documents below a threshold were met"
    distinct = "distinct" in request.get("federation", {}) or any("distinct" in query for query in request["queries"])
    if distinct and ("otalHits: " in wrong or "totalPages: " in wrong):
        return "how many different documents were counted"
    if "_formatted: " in wrong and any("attributesToCrop" in query for query in request["queries"]):
        return MARKS  # texts are cropped around the marks
    return next((name for name in (SPELLING, EQUAL_COUNTS, MARKS) if wrong.endswith(name)), None)


def _distributions(body: dict[str, Any]) -> dict[str, dict[str, int]]:
    by_index = body.get("facetsByIndex", {})
    found: dict[str, dict[str, int]] = {
        f"{uid} {name}": values for uid in by_index for name, values in by_index[uid]["distribution"].items()
    }
    found |= body.get("facetDistribution", {})
    return found


def _known_facets(one: dict[str, dict[str, int]], other: dict[str, dict[str, int]]) -> str | None:
    """The name of what makes facets different: which spelling of a value is shown, or which of equal counts."""
    if list(one) != list(other):
        return None
    if any(name.rpartition(" ")[2] in FEW_VALUES and _moved(one[name], other[name]) for name in one):
        return None
    if all(sorted(one[name].items()) == sorted(other[name].items()) for name in one):
        counts = [list(values.values()) for facets in (one, other) for values in facets.values()]
        return EQUAL_COUNTS if counts[: len(one)] == counts[len(one) :] else None
    if all(_folded(one[name]) == _folded(other[name]) for name in one):
        return SPELLING
    if all(one[name] == other[name] or _agree(one[name], other[name]) for name in one):
        return SPELLING if any(_spelled_apart(one[name], other[name]) for name in one) else EQUAL_COUNTS
    same_counts = all(list(one[name].values()) == list(other[name].values()) for name in one)
    return EQUAL_COUNTS if same_counts else None


def _moved(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether the same values stand in another order."""
    return sorted(one) == sorted(other) and list(one) != list(other)


def _spelled_apart(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether a value is spelled in another way in one of them."""
    spelled = {normalise(value): value for value in one}
    return any(spelled.get(normalise(value), value) != value for value in other)


def _agree(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two cuts of merged facets can come from the same values: in two spellings, by which they are sorted, or
    others of equal counts of each index."""
    common = [value for value in one if value in other]
    return len(one) == len(other) and common != list(one) and all(one[value] == other[value] for value in common)


def _folded(values: dict[str, int]) -> list[tuple[str, int]]:
    return sorted((normalise(value), count) for value, count in values.items())

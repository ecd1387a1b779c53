"""Filters: which documents they keep and which are refused, written down from Meilisearch 1.50."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.contract.server import Index, Server, refusal

FILTERABLE = ["id", "color", "n", "tags", "o", "a b", "IN", "é", "_geo", "_miroir_shard", "never", "gr"]
DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": 1,
        "color": "red",
        "n": 5,
        "tags": ["a", "B"],
        "_geo": {"lat": 48.85, "lng": 2.35},
        "o": {"x": 1, "y": ["k", None]},
    },
    {"id": 2, "color": "Blue", "n": "5", "tags": [], "o": {}},
    {"id": 3, "color": None, "n": 5.5, "tags": ["a", None, ""], "_geo": {"lat": "45.0", "lng": "4.5"}},
    {"id": 4, "color": "", "n": -1, "o": [{"x": 2}, {"x": [3, "red"]}]},
    {"id": 5, "color": "Écarlate", "n": True, "tags": "A", "_geo": None},
    {"id": 6, "color": "  red ", "n": [1, 2, 30], "tags": [["z"]]},
    {"id": 7, "color": 'it\'s "x" \\ y', "n": 1000.0, "a b": "c d", "o": {"x": {"deep": "v"}}},
    {"id": 8, "n": None, "IN": "kw", "é": "û"},
    {"id": 9, "color": ["red", "green"], "n": "abc", "_geo": {"lat": -33, "lng": 179.9}},
    {"id": 10, "color": {"a": 1}, "n": 12345678901234567890, "_miroir_shard": "§¶"},
]

KEPT: list[tuple[Any, list[int]]] = [
    ("color = red", [1, 6, 9]),
    ("color = RED", [1, 6, 9]),
    ("color = ' Red '", [1, 6, 9]),
    ("color != red", [2, 3, 4, 5, 7, 8, 10]),
    ("NOT color = red", [2, 3, 4, 5, 7, 8, 10]),
    ("color = ''", []),
    ("color = Écarlate", [5]),
    ("color = ecarlate", []),
    ("color > g", [1, 6, 7, 9]),
    ("color >= red", [1, 6, 9]),
    ("color < c", [2]),
    ("color EXISTS", [1, 2, 3, 4, 5, 6, 7, 9, 10]),
    ("color NOT EXISTS", [8]),
    ("color IS NULL", [3]),
    ("color IS NOT NULL", [1, 2, 4, 5, 6, 7, 8, 9, 10]),
    ("color IS EMPTY", [4]),
    ("color IS NOT EMPTY", [1, 2, 3, 5, 6, 7, 8, 9, 10]),
    ("color IN [red, blue]", [1, 2, 6, 9]),
    ("color NOT IN [red, blue,]", [3, 4, 5, 7, 8, 10]),
    ("color IN []", []),
    ("color a TO c", [2]),
    ("color STARTS WITH r", [1, 6, 9]),
    ("color NOT STARTS WITH r", [2, 3, 4, 5, 7, 8, 10]),
    ('color = "it\'s \\"x\\" \\\\ y"', [7]),
    ("n = 5", [1, 2]),
    ("n = 5.0", [1]),
    ("n = '5'", [1, 2]),
    ("n != 5", [3, 4, 5, 6, 7, 8, 9, 10]),
    ("n > 5", [3, 5, 6, 7, 9, 10]),
    ("n >= 5.5", [3, 5, 6, 7, 9, 10]),
    ("n < 0", [4]),
    ("n <= 1", [4, 6]),
    ("n 1 TO 6", [1, 2, 3, 6]),
    ("n 6 TO 1", []),
    ("n = true", [5]),
    ("n = abc", [9]),
    ("n = 1000", [7]),
    ("n = 1e3", [7]),
    ("n > a", [5, 9]),
    ("n IS NULL", [8]),
    ("tags = a", [1, 3, 5]),
    ("tags = b", [1]),
    ("tags IS EMPTY", [2]),
    ("tags EXISTS", [1, 2, 3, 5, 6]),
    ("tags != a", [2, 4, 6, 7, 8, 9, 10]),
    ("o.x = 1", [1]),
    ("o.x > 1", [4]),
    ("o EXISTS", [1, 2, 4, 7]),
    ("o.x EXISTS", [1, 4, 7]),
    ("o.y = k", [1]),
    ("o.x.deep = v", [7]),
    ("o IS EMPTY", [2]),
    ("never = 1", []),
    ("never != 1", []),
    ("NOT never = 1", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ("never EXISTS", []),
    ("never NOT EXISTS", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ("'a b' = 'c d'", [7]),
    ("'IN' = kw", [8]),
    ("é = û", [8]),
    ("_miroir_shard = '§¶'", [10]),
    ("_miroir_shard IN ['§¶', '§']", [10]),
    ("_miroir_shard = '§'", []),
    ("color = red AND n = 1", [6]),
    ("color = red OR n > 100", [1, 2, 5, 6, 7, 9, 10]),
    ("NOT NOT color = red", [1, 6, 9]),
    ("(color = red OR n = 5) AND NOT tags = a", [2, 6, 9]),
    ("n >= 5 AND n <= 6 OR color = blue AND NOT id = 2", [1, 2, 3, 6]),
    ("color=red", [1, 6, 9]),
    ("color = red AND(NOT(n=5))", [6, 9]),
    (" color\n=\tred ", [1, 6, 9]),
    ("_geoRadius(48.85,2.35,500000)", [1, 3]),
    ("_geoRadius(45, 4.5, 0)", [3]),
    ("_geoBoundingBox([50,5],[40,0])", [1, 3]),
    ("_geoBoundingBox([0,-170],[-50,170])", [9]),
    ("_geo.lat > 40", [1, 3]),
    ("", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    (["color = red", "n = 5"], [1]),
    ([["color = red", "n = 5.5"], "id < 5"], [1, 3]),
    ([[]], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ([[], "color = red"], [1, 6, 9]),
]

REFUSED: list[Any] = [
    "color = red and n=1",
    "color red",
    "color =",
    "= red",
    "color = red AND",
    "color IN red",
    "color IN [red",
    "color IN [red blue]",
    "color IN [red,,blue]",
    "(color = red",
    "color = red)",
    "color = 'red",
    "nope = 1",
    "a b = 'c d'",
    "IN = kw",
    "color = '\\q'",
    "_miroir_shard = §¶",
    "color IS",
    "n 1 TO",
    "n TO 3",
    "color == red",
    "_geoRadius(100,0,1)",
    "_geoRadius(1,2)",
    "_geoBoundingBox([40,5],[50,0])",
    "_geoPoint(1,2)",
    "_geo = 1",
    "NOT",
    "()",
    "color = NULL",
    [1],
    {"a": 1},
    5,
    [[["color = red"]]],
]


@pytest.fixture(scope="module")
def filtered(server: Server) -> Index:
    return server.index(DOCUMENTS, {"filterableAttributes": FILTERABLE})


@pytest.mark.parametrize(("value", "expected"), KEPT)
def test_filters_keep_these_documents(filtered: Index, value: Any, expected: list[int]) -> None:
    assert filtered.ids(filter=value) == expected


@pytest.mark.parametrize("value", REFUSED)
def test_wrong_filters_are_refused(filtered: Index, value: Any) -> None:
    assert refusal(filtered.call("POST", "/search", {"filter": value})) == (400, "invalid_search_filter")


@pytest.mark.parametrize("value", ["color CONTAINS re", "_shard = x", "_vectors EXISTS"])
def test_experimental_filters_are_refused(filtered: Index, value: str) -> None:
    assert refusal(filtered.call("POST", "/search", {"filter": value})) == (400, "feature_not_enabled")


def test_an_attribute_that_is_not_filterable_is_named_with_those_that_are(server: Server) -> None:
    index = server.index([{"id": 1}], {"filterableAttributes": ["b", "a.*"]})
    message = index.call("POST", "/search", {"filter": "x = 1 AND b = 2"}).json()["message"]
    assert message == (
        f"Index `{index.uid}`: Attribute `x` is not filterable. Available filterable attribute patterns are:"
        ' `a.*`, `b`.\n3:4 ("x" = "1") AND ("b" = "2")'
    )


GRANULAR = [
    {"attributePatterns": ["col*"], "features": {"facetSearch": False, "filter": {"equality": True}}},
    {"attributePatterns": ["n"], "features": {"filter": {"equality": False, "comparison": True}}},
    {"attributePatterns": ["*ags"]},
]


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("color = red", True), ("color IN [red]", True), ("color EXISTS", True), ("color > a", False),
        ("color 1 TO 2", False), ("n > 5", True), ("n = 5", False), ("n IN [5]", False), ("n IS NULL", True),
        ("tags = a", True), ("tags > a", False), ("id = 1", False),
    ],
)  # fmt: skip
def test_features_allow_operators_one_by_one(granular: Index, value: str, allowed: bool) -> None:
    response = granular.call("POST", "/search", {"filter": value})
    assert response.status_code == (200 if allowed else 400)


@pytest.fixture(scope="module")
def granular(server: Server) -> Index:
    return server.index(DOCUMENTS, {"filterableAttributes": GRANULAR})


def generated(chance: random.Random, depth: int = 0) -> str:
    """A filter made at random from the fields and values of the corpus."""
    kind = chance.random()
    if depth < 3 and kind < 0.45:
        word = chance.choice([" AND ", " OR "])
        return "(" + word.join(generated(chance, depth + 1) for _ in range(chance.randint(2, 3))) + ")"
    if depth < 3 and kind < 0.6:
        return f"NOT {generated(chance, depth + 1)}"
    field = chance.choice(["color", "n", "tags", "o.x", "o.y", "o", "id", "never", "'a b'", "_geo.lat"])
    value = chance.choice(["red", "RED", "blue", "5", "5.5", "-1", "a", "'B'", "true", "k", "1000", "'c d'", "''"])
    operator = chance.choice(["=", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "TO", "EXISTS", "IS NULL", "IS EMPTY"])
    if operator in ("IN", "NOT IN"):
        return f"{field} {operator} [{value}, 3]"
    if operator == "TO":
        return f"{field} {value} TO 6"
    return f"{field} {operator}" if operator[0] in "EI" else f"{field} {operator} {value}"


def brute_force(index: Index, text: str) -> set[int]:
    """What the parts of a filter keep, put together by Python: AND, OR and NOT are set operations."""
    everything = {document["id"] for document in DOCUMENTS}

    def whole(rest: str) -> tuple[set[int], str]:
        if rest.startswith("NOT "):
            found, rest = whole(rest[4:])
            return everything - found, rest
        if not rest.startswith("("):
            end = min((at for sign in (" AND ", " OR ", ")") if (at := rest.find(sign)) >= 0), default=len(rest))
            return set(index.ids(filter=rest[:end])), rest[end:]
        found, rest = whole(rest[1:])
        while not rest.startswith(")"):
            joined = rest.startswith(" AND ")
            more, rest = whole(rest[5:] if joined else rest[4:])
            found = found & more if joined else found | more
        return found, rest[1:]

    return whole(text)[0]


@pytest.mark.parametrize("seed", range(4))
def test_generated_filters_are_the_sum_of_their_parts(filtered: Index, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(15 if filtered.server.embedded else 5):
        text = generated(chance)
        assert set(filtered.ids(filter=text)) == brute_force(filtered, text), text

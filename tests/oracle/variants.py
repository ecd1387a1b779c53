"""A catalogue of variants: documents, settings and requests for `distinct`, facets, facet search and fetching.

Documents come in the order of their primary keys, which is the order in which a cluster takes equal ones: one node
takes them in the order in which they came.
"""

from __future__ import annotations

import random
from typing import Any

from tests.oracle.corpus import WORDS

BRANDS = ("acme", "Borealis", "cumulus", "Delta Works", "Écho", "12", "7", "007")
LABELS = tuple(WORDS[:14])
SIZES = (1, 2, 3, 4.5, 10, 12, 100, "S", "m", "XL")
SPELLINGS = {"acme": ("acme", "Acme", "ACME "), "Écho": ("Écho", "écho"), "m": ("m", "M"), "XL": ("XL", "xl ")}
FIELDS = ("sku", "brand", "labels", "size", "price", "stock", "maker", "code")


def make_variants(rng: random.Random, count: int, *, mixed: bool = True) -> list[dict[str, Any]]:
    """`mixed`: values are spelled now one way, now another."""
    return [_variant(rng, key, count, mixed) for key in range(1, count + 1)]


def _variant(rng: random.Random, key: int, count: int, mixed: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"id": key, "title": " ".join(rng.choice(WORDS[:30]) for _ in range(rng.randint(1, 4)))}
    if rng.random() < 0.9:
        sku = f"sku {rng.randint(1, count // 5)}"
        document["sku"] = rng.choice([sku, sku, sku.upper(), f" {sku}"]) if mixed else sku
    if rng.random() < 0.9:
        document["brand"] = _spelled(rng, rng.choice(BRANDS), mixed)
    if rng.random() < 0.8:
        document["labels"] = rng.sample(LABELS, rng.choice([0, 1, 1, 2, 3]))
    if rng.random() < 0.8:
        size = _spelled(rng, rng.choice(SIZES), mixed)
        document["size"] = rng.choice([size, size, None, "", True, [2, "S"]])
    if rng.random() < 0.9:
        document["price"] = rng.choice([rng.randint(1, 400), round(rng.uniform(0, 40), 2)])
    if rng.random() < 0.9:
        document["stock"] = rng.randint(0, 12)
    if rng.random() < 0.6:
        document["maker"] = {
            "name": _spelled(rng, rng.choice(BRANDS), mixed),
            "plants": [{"town": rng.choice(LABELS)} for _ in range(2)],
        }
    if rng.random() < 0.5:
        document["code"] = rng.choice(['a"b', "a'b", "a\\b", "b\\", 'c\\"', "x y", "NOT", f"{key % 9}"])
    return document


def _spelled(rng: random.Random, value: Any, mixed: bool) -> Any:
    return rng.choice(SPELLINGS.get(value, (value,))) if mixed else value


EVERY = [*FIELDS, "id"]
VARIANTS: dict[str, dict[str, Any]] = {
    "chosen by the request": {"filterableAttributes": EVERY, "sortableAttributes": ["price", "stock", "id"]},
    "facets by count, none displayed": {
        "filterableAttributes": EVERY,
        "displayedAttributes": ["id"],
        "faceting": {"maxValuesPerFacet": 9, "sortFacetValuesBy": {"*": "count", "labels": "alpha"}},
        "typoTolerance": {"minWordSizeForTypos": {"oneTypo": 3, "twoTypos": 6}},
    },
    "one sku": {
        "filterableAttributes": EVERY,
        "sortableAttributes": ["price", "stock"],
        "distinctAttribute": "sku",
        "faceting": {"maxValuesPerFacet": 40, "sortFacetValuesBy": {"*": "count", "price": "alpha"}},
    },
    "a sku that is not filterable": {
        "filterableAttributes": ["brand", "labels", "size", "price", "stock", "id"],
        "sortableAttributes": ["price"],
        "distinctAttribute": "sku",
        "pagination": {"maxTotalHits": 50},
    },
    "several labels, hidden": {
        "filterableAttributes": EVERY,
        "sortableAttributes": ["price"],
        "displayedAttributes": ["id", "title"],
        "distinctAttribute": "labels",
        "rankingRules": ["words", "stock:desc", "typo", "sort", "attributeRank"],
        "faceting": {"sortFacetValuesBy": {"stock": "count", "labels": "count"}},
    },
}


def make_search(rng: random.Random, settings: dict[str, Any]) -> dict[str, Any]:
    """A search; its facets and its `distinct` are among the filterable attributes."""
    filterable = [name for name in settings["filterableAttributes"] if name != "id"]
    query: dict[str, Any] = {}
    if rng.random() < 0.6:
        query["q"] = " ".join(rng.choice(WORDS[:34]) for _ in range(rng.choice([1, 1, 2])))
    if "distinctAttribute" not in settings or rng.random() < 0.3:
        query["distinct"] = rng.choice([name for name in filterable if name != "maker"])
    if rng.random() < 0.5:
        query["facets"] = ["*"] if rng.random() < 0.2 else rng.sample(filterable, rng.randint(1, 3))
    if rng.random() < 0.4:
        query["filter"] = _condition(rng)
    if rng.random() < 0.2:
        query["sort"] = [f"price:{rng.choice(['asc', 'desc'])}"]
    elif rng.random() < 0.2 and "q" in query:
        query["rankingScoreThreshold"] = rng.choice([0.2, 0.6, 0.9])
    if rng.random() < 0.2:
        query["attributesToRetrieve"] = rng.choice([["id"], ["id", "title", "price"], ["*"]])
    return query | _pages(rng)


def _pages(rng: random.Random) -> dict[str, int]:
    kind = rng.random()
    if kind < 0.4:
        return {}
    if kind < 0.7:
        return {"limit": rng.choice([0, 1, 3, 40, 1500]), "offset": rng.choice([0, 0, 2, 30])}
    return {"page": rng.choice([0, 1, 1, 2, 4]), "hitsPerPage": rng.choice([0, 1, 5, 30])}


def _condition(rng: random.Random) -> str:
    return rng.choice(
        [
            f'brand = "{_spelled(rng, rng.choice(BRANDS), True)}"',
            f"price < {rng.randint(2, 400)}",
            f"stock {rng.randint(0, 4)} TO {rng.randint(4, 12)}",
            f"labels IN [{', '.join(rng.sample(LABELS, 3))}]",
            "labels IS EMPTY",
            "size EXISTS AND NOT size IS NULL",
            f"stock != {rng.randint(0, 12)}",
            f"id IN [{rng.randint(1, 240)}, '{rng.randint(1, 240)}.0'] AND NOT price = 4",
            f"id = {rng.randint(1, 240)}",
        ]
    )


def make_facet_search(rng: random.Random, settings: dict[str, Any]) -> dict[str, Any]:
    """A facet search for the beginning of a value, now and then with a letter wrong."""
    names = [name for name in settings["filterableAttributes"] if name != "id"]
    query: dict[str, Any] = {"facetName": rng.choice([*names, "maker.name", "sku", "labels", "brand"])}
    if rng.random() < 0.85:
        text = rng.choice([*BRANDS, *LABELS, *map(str, SIZES), f"sku {rng.randint(1, 99)}", "a'b"]).strip()
        text = text[: rng.randint(0, len(text))]
        if len(text) > 4 and rng.random() < 0.3:
            place = rng.randrange(1, len(text))
            text = text[:place] + rng.choice("aeiou") + text[place + 1 :]
        query["facetQuery"] = text
    if rng.random() < 0.4:
        query["q"] = rng.choice(WORDS[:34])
        if rng.random() < 0.4:
            query["rankingScoreThreshold"] = rng.choice([0.3, 0.9, 0.98])
    if rng.random() < 0.3:
        query["filter"] = _condition(rng)
    if rng.random() < 0.2:
        query["exhaustiveFacetCount"] = rng.random() < 0.5
    return query


def make_fetch(rng: random.Random, settings: dict[str, Any], count: int) -> dict[str, Any]:
    """A request for documents themselves."""
    query: dict[str, Any] = {}
    if rng.random() < 0.5:
        query["filter"] = _condition(rng)
    if rng.random() < 0.3:
        query["ids"] = [rng.choice([key, str(key)]) for key in rng.sample(range(1, count + 20), rng.randint(0, 30))]
    sortable = settings.get("sortableAttributes", ())
    if rng.random() < 0.5 and sortable:
        names = rng.sample(sortable, min(rng.randint(1, 2), len(sortable)))
        query["sort"] = [f"{name}:{rng.choice(['asc', 'desc'])}" for name in names]
    if rng.random() < 0.4:
        query["fields"] = rng.choice([["*"], ["title"], ["id", "price"], ["maker.name", "labels"], []])
    if rng.random() < 0.6:
        query["limit"] = rng.choice([0, 1, 7, 40, 5000])
    if rng.random() < 0.6:
        query["offset"] = rng.choice([0, 3, 50, 5000])
    if rng.random() < 0.1:
        query["retrieveVectors"] = True
    return query

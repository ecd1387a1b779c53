"""Random documents, settings and queries: what people write, what is rare, and what is known to be hard to merge."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

WORDS = """
river stone bridge lantern winter garden silver mountain harbor captain whisper shadow forest window thunder meadow
island copper feather journey market castle desert orchard pepper saddle ribbon candle marble velvet anchor basket
beacon canyon carpet cellar cherry circus clover coffee corner cotton cradle crystal dagger dancer danger dragon
engine fabric falcon father fiddle finger flower folder fossil galaxy ginger glacier goblin granite hammer helmet
hunter insect jacket jungle kettle kitten ladder leather legend lemon letter lizard magnet maiden mirror monkey
needle number ocean orange oyster palace paper parade parcel pebble pencil people pillow pirate planet pocket poison
potato powder prince puzzle rabbit racket record rocket saffron sailor school season shield signal sister spider
spirit spring square stable statue storm street summer sunset temple throne ticket timber tunnel turtle umbrella
valley vessel violin volcano wagon walnut weapon whistle willow wizard yellow zephyr art car cat dog sun sky sea map
red blue green old new big the of and in the on a
""".split()
COLORS = ("red", "Blue", "green", "Vert", "été", "10", "yellow ochre")
MIXED = ("Blue", "10x", "-", "Zulu", "été")
SPELLINGS = {"red": ("red", "Red", "RED"), "Blue": ("blue", "Blue"), "été": ("été", "Été")}
"""How a value is spelled as well, where spellings are mixed."""
MAKERS = ("acme", "Borealis", "cumulus", "Delta Works", "echo")


def make_documents(
    rng: random.Random, count: int, *, text_keys: bool = False, mixed: bool = True
) -> list[dict[str, Any]]:
    """Documents with a primary key `id`; every field but `title` is missing here and there, `rare` nearly always.

    `mixed`: values are spelled now one way, now another.
    """
    keys = [f"doc-{number:05d}" if text_keys else number * 7 % 100_003 for number in range(1, count + 1)]
    documents = [_document(rng, key, mixed) for key in keys]
    documents[0]["rare"] = "yes"
    return documents


def _spelled(rng: random.Random, value: str, mixed: bool) -> str:
    return rng.choice(SPELLINGS.get(value, (value,))) if mixed else value


def _document(rng: random.Random, key: str | int, mixed: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"id": key, "title": _text(rng, 1, 6)}
    if rng.random() < 0.9:
        document["body"] = _text(rng, 4, 24)
    if rng.random() < 0.8:
        document["color"] = _spelled(rng, rng.choice(COLORS), mixed)
    if rng.random() < 0.8:
        document["tags"] = rng.sample(WORDS[:40], rng.randint(0, 4))
    if rng.random() < 0.85:
        document["price"] = rng.choice([rng.randint(1, 30), round(rng.uniform(0, 30), 2)])
    if rng.random() < 0.7:
        texts = [_spelled(rng, text, mixed) for text in (rng.choice(MIXED), "Blue")]
        document["mixed"] = rng.choice([rng.randint(0, 9), texts[0], None, True, [3, texts[1]]])
    document["year"] = 1950 + int(rng.triangular(0, 70, 60))
    if rng.random() < 0.6:
        document["_geo"] = {"lat": round(rng.uniform(47, 49), 4), "lng": round(rng.uniform(1, 3), 4)}
    if rng.random() < 0.5:
        document["maker"] = {"name": rng.choice(MAKERS), "rank": rng.randint(1, 5)}
    if rng.random() < 0.01:
        document["rare"] = rng.choice(["yes", "no"])
    if rng.random() < 0.7:
        document["code"] = rng.randint(1, 60)
    return document


def _text(rng: random.Random, least: int, most: int) -> str:
    words = [_skewed(rng) for _ in range(rng.randint(least, most))]
    if rng.random() < 0.2:
        words.insert(rng.randrange(len(words) + 1), str(rng.randint(0, 99)))
    return " ".join(words).capitalize()


def _skewed(rng: random.Random) -> str:
    return WORDS[min(int(rng.expovariate(1 / 45)), len(WORDS) - 1)]


FILTERABLE = ["color", "tags", "price", "mixed", "year", "rare", "maker", "code", "_geo", "id"]
SORTABLE = ["price", "mixed", "year", "color", "title", "_geo", "maker.rank", "id"]
RULES = ["words", "typo", "proximity", "attributeRank", "sort", "wordPosition", "exactness"]

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {"filterableAttributes": FILTERABLE, "sortableAttributes": SORTABLE},
    "ranked": {
        "filterableAttributes": FILTERABLE,
        "sortableAttributes": SORTABLE,
        "rankingRules": ["words", "sort", "typo", "price:desc", "proximity", "attributeRank", "exactness", "year:asc"],
        "searchableAttributes": ["title", "body", "color"],
        "faceting": {"maxValuesPerFacet": 7, "sortFacetValuesBy": {"*": "count", "tags": "alpha"}},
        "pagination": {"maxTotalHits": 60},
    },
    "private": {
        "filterableAttributes": FILTERABLE,
        "sortableAttributes": SORTABLE,
        "displayedAttributes": ["id", "title", "year", "color"],
        "searchableAttributes": ["body", "title"],
        "stopWords": ["the", "of", "and", "a"],
        "synonyms": {"sea": ["ocean"], "dog": ["cat"]},
        "typoTolerance": {"minWordSizeForTypos": {"oneTypo": 4, "twoTypos": 7}},
    },
    "sorted first": {
        "filterableAttributes": FILTERABLE,
        "sortableAttributes": SORTABLE,
        "rankingRules": ["sort", "words", "typo", "proximity", "attributeRank", "wordPosition", "exactness"],
        "faceting": {"maxValuesPerFacet": 3},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Which parts of a query are generated."""

    distinct: bool = True
    frequency: bool = True
    formatting: bool = True


def make_query(rng: random.Random, kinds: Kinds) -> dict[str, Any]:
    """A search request."""
    query: dict[str, Any] = {}
    if rng.random() < 0.85:
        query["q"] = _phrase(rng)
    if rng.random() < 0.4:
        query["filter"] = _filter(rng)
    if rng.random() < 0.3:
        query["sort"] = _sort(rng)
    if rng.random() < 0.25:
        query["facets"] = rng.choice([["color"], ["*"], ["tags", "price"], ["mixed", "code", "year"], ["maker.name"]])
    query |= _pagination(rng)
    if rng.random() < 0.4:
        query["matchingStrategy"] = rng.choice(["all", "last", "frequency"] if kinds.frequency else ["all", "last"])
    if rng.random() < 0.15:
        query["attributesToRetrieve"] = rng.choice([["title"], ["title", "id"], ["maker.name", "year"], ["*"], []])
    if rng.random() < 0.15 and kinds.formatting:
        query["attributesToHighlight"] = rng.choice([["*"], ["title"], ["body", "maker"]])
    if rng.random() < 0.1 and kinds.formatting:
        query |= {"attributesToCrop": ["body:5"], "cropLength": 4}
    for key, chance in (("showMatchesPosition", 0.1), ("showRankingScoreDetails", 0.15), ("showRankingScore", 0.1)):
        if rng.random() < chance:
            query[key] = True
    if rng.random() < 0.08:
        query["attributesToSearchOn"] = ["title"]
    if kinds.distinct and rng.random() < 0.06 and "facets" not in query:
        query["distinct"] = rng.choice(["year", "color", "code"])
    return query


def _phrase(rng: random.Random) -> str:
    words = [_skewed(rng) for _ in range(rng.choice([1, 1, 2, 2, 3, 4]))]
    if rng.random() < 0.3:
        place = rng.randrange(len(words))
        words[place] = _typo(rng, words[place])
    if rng.random() < 0.35:
        words[-1] = words[-1][: rng.randint(1, 4)]
    text = " ".join(words)
    if rng.random() < 0.12:
        text = f'"{text}"'
    if rng.random() < 0.06:
        text += f" -{_skewed(rng)}"
    if rng.random() < 0.05:
        text = str(rng.randint(0, 99))
    return text


def _typo(rng: random.Random, word: str) -> str:
    place = rng.randrange(len(word))
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    return rng.choice(
        [
            word[:place] + word[place + 1 :],
            word[:place] + letter + word[place:],
            word[:place] + letter + word[place + 1 :],
        ]
    )


def _condition(rng: random.Random) -> str:
    return rng.choice(
        [
            f'color = "{_spelled(rng, rng.choice(COLORS), True)}"',
            f'color != "{_spelled(rng, rng.choice(COLORS), True)}"',
            f"year >= {rng.randint(1950, 2020)}",
            f"price {rng.randint(0, 10)} TO {rng.randint(10, 30)}",
            f"price < {rng.randint(1, 30)}",
            f"tags = {rng.choice(WORDS[:40])}",
            f"tags IN [{', '.join(rng.sample(WORDS[:40], 3))}]",
            "rare != yes",
            "rare = yes",
            "mixed EXISTS",
            "mixed IS NULL",
            "NOT mixed = 3",
            "mixed NOT EXISTS",
            "tags IS EMPTY",
            "maker.name = acme",
            "_geoRadius(48.0, 2.0, 60000)",
            "_geoBoundingBox([48.7, 2.8], [47.2, 1.3])",
            f"code NOT IN [{rng.randint(1, 60)}, {rng.randint(1, 60)}]",
        ]
    )


def _filter(rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.4:
        return _condition(rng)
    if kind < 0.6:
        return f"({_condition(rng)} OR {_condition(rng)}) AND NOT {_condition(rng)}"
    if kind < 0.8:
        return [_condition(rng), [_condition(rng), _condition(rng)]]
    return f"{_condition(rng)} AND {_condition(rng)}"


def _sort(rng: random.Random) -> list[str]:
    fields = rng.sample(["price", "mixed", "year", "color", "title", "maker.rank", "id"], rng.randint(1, 2))
    rules = [f"{name}:{rng.choice(['asc', 'desc'])}" for name in fields]
    if rng.random() < 0.2:
        point = f"_geoPoint({rng.uniform(47, 49):.3f}, {rng.uniform(1, 3):.3f})"
        rules.insert(rng.randint(0, 1), f"{point}:{rng.choice(['asc', 'desc'])}")
    return rules


def _pagination(rng: random.Random) -> dict[str, int]:
    kind = rng.random()
    if kind < 0.45:
        return {}
    if kind < 0.75:
        return {"limit": rng.choice([0, 1, 5, 50, 2000]), "offset": rng.choice([0, 0, 3, 20, 55])}
    if kind < 0.85:
        return {"hitsPerPage": rng.choice([0, 1, 7, 30])}
    return {"page": rng.choice([0, 1, 2, 3]), "hitsPerPage": rng.choice([5, 10, 40])}

"""The documents and settings that the ranking and search contracts are written against."""

from __future__ import annotations

from typing import Any

DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": 1,
        "title": "The Sunflower",
        "text": "A sunflower in the sun. The sun is hot, and flowers grow.",
        "tags": ["plant", "yellow"],
        "year": 1999,
        "price": 10.5,
        "_geo": {"lat": 48.85, "lng": 2.35},
    },
    {
        "id": 2,
        "title": "Sun and flower",
        "text": "sun flower sunflowers sunny",
        "tags": ["plant"],
        "year": 2005,
        "price": None,
    },
    {
        "id": 3,
        "title": "Quick brown fox",
        "text": "The quick brown fox jumps over the lazy dog! Hello world; hello WORLD.",
        "tags": [],
        "year": 2001,
        "price": "cheap",
        "_geo": {"lat": 45.75, "lng": 4.85},
    },
    {"id": 4, "title": "The quikc bronw fox", "text": "world hello", "year": 2001, "price": 3},
    {"id": 5, "title": "Hello world", "text": "greetings to the whole wide world", "year": 1999, "tags": ["a", "b c"]},
    {
        "id": 6,
        "title": "Say hello to the world",
        "text": "hello there my wonderful wrold",
        "year": 2010,
        "_geo": {"lat": -33.86, "lng": 151.2},
    },
    {"id": 7, "title": "Helo wolrd", "text": "typos everywhere, 12345 numbers 2001", "year": 2001},
    {
        "id": 8,
        "title": "Élève à l'école",
        "text": "Les élèves étudient; naïve café œuvre. C'est l'été",
        "year": "n/a",
        "tags": ["fr"],
    },
    {"id": 9, "title": "new york city", "text": "the big apple - NYC", "year": 2020, "tags": ["city", "US"]},
    {"id": 10, "title": "nyc", "text": "york is new and city-like. New-York", "year": 2020, "price": 7},
    {"id": 11, "title": "world", "text": "hello", "year": None},
    {"id": 12, "title": "interesting intersting interestingly", "text": "Interested interest enteresting", "year": 3},
    {
        "id": 13,
        "title": "a b c d e f g h i j k l m",
        "text": "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu",
    },
    {
        "id": 14,
        "title": "Star Wars: A New Hope",
        "text": "In a galaxy far, far away. Star war star wars.",
        "year": 1977,
        "nested": {"name": "Luke Skywalker", "list": [{"x": "father"}, {"x": "sister Leia"}]},
    },
    {
        "id": 15,
        "title": "The Empire Strikes Back",
        "text": "galaxy star trek",
        "year": 1980,
        "nested": {"name": "Darth Vader"},
    },
    {"id": 16, "title": "batman", "text": "the bat man returns 1992", "year": 1992},
    {"id": 17, "title": "bat man", "text": "batmobile", "year": 1966},
    {"id": 18, "title": "man bat", "text": "batman returns", "year": 1970},
    {"id": 19, "title": "§¶ marks", "text": "e-mail: john.doe@example.com, http://a.b/c?d=e 3.14 1,000", "year": 1},
    {"id": 20, "title": "Hello", "text": "world " * 30 + "hello", "year": 2},
]

BASE: dict[str, Any] = {
    "filterableAttributes": ["year", "tags", "id", "price", "_geo"],
    "sortableAttributes": ["year", "price", "title", "_geo"],
}

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "listed": {"searchableAttributes": ["title", "text", "tags"]},
    "one": {"searchableAttributes": ["text"]},
    "stop": {"stopWords": ["the", "a", "to", "is"], "searchableAttributes": ["title", "text"]},
    "syn": {
        "synonyms": {
            "nyc": ["new york city", "big apple"],
            "fox": ["dog"],
            "new york": ["nyc"],
            "wide world": ["globe"],
            "hi": ["hello"],
        }
    },
    "attr": {
        "rankingRules": ["words", "typo", "proximity", "attribute", "sort", "exactness"],
        "searchableAttributes": ["title", "text", "tags"],
    },
    "rules": {
        "rankingRules": ["exactness", "typo", "words", "year:desc", "proximity"],
        "searchableAttributes": ["text", "title"],
    },
    "rules2": {
        "rankingRules": ["sort", "attributeRank", "proximity", "typo"],
        "searchableAttributes": ["title", "text"],
    },
    "pk": {
        "rankingRules": ["words", "typo", "proximity", "attributeRank", "sort", "wordPosition", "exactness", "id:asc"],
        "displayedAttributes": ["title", "id"],
    },
    "typo": {
        "typoTolerance": {
            "minWordSizeForTypos": {"oneTypo": 3, "twoTypos": 6},
            "disableOnWords": ["hello"],
            "disableOnAttributes": ["title"],
            "disableOnNumbers": True,
        }
    },
    "notypo": {"typoTolerance": {"enabled": False}, "prefixSearch": "disabled"},
    "byattr": {"proximityPrecision": "byAttribute"},
    "seps": {"separatorTokens": ["w"], "nonSeparatorTokens": ["-", "@"], "dictionary": ["J. R.", "bat man"]},
}

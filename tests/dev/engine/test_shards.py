"""Ranking depends on a document, the query and the settings: shards rank their documents as one node does."""

from __future__ import annotations

import random
from typing import Any

import pytest

from miroir_cli.dev.engine.index import Change, Index, encode
from miroir_cli.dev.engine.parameters import search_request
from miroir_cli.dev.engine.search import search
from miroir_cli.dev.engine.text import Tokenizer

WORDS = ["sun", "sunn", "sunflower", "flower", "flowers", "world", "wolrd", "hello", "helo", "batman", "bat", "man"]


def index_of(documents: list[dict[str, Any]]) -> Index:
    settings = {"searchableAttributes": ["title", "body"], "rankingRules": [*RULES, "id:asc"]}
    record = {"primaryKey": "id", "createdAt": "", "updatedAt": "", "settings": settings, "fields": []}
    index = Index("i", record)
    index.load((number, str(document["id"]), encode(document)) for number, document in enumerate(documents))
    return index


RULES = ["words", "typo", "proximity", "attributeRank", "sort", "wordPosition", "exactness"]


def counts(hit: dict[str, Any]) -> dict[str, Any]:
    """What merging compares: everything but the highest possible typo count and the scores made from it."""
    details: dict[str, Any] = hit["_rankingScoreDetails"]
    return {
        name: {key: value for key, value in entry.items() if not (name == "typo" and key in ("maxTypoCount", "score"))}
        for name, entry in details.items()
        if name != "proximity" or details["typo"]["typoCount"] < 2
    }


@pytest.mark.parametrize("seed", range(6))
def test_a_shard_says_of_a_document_what_the_whole_says(seed: int) -> None:
    chance = random.Random(seed)
    documents = [
        {
            "id": number,
            "title": " ".join(chance.choices(WORDS, k=chance.randint(1, 3))),
            "body": " ".join(chance.choices(WORDS, k=chance.randint(2, 12))),
        }
        for number in range(60)
    ]
    whole = index_of(documents)
    shards = [index_of(documents[start::3]) for start in range(3)]
    for _ in range(25):
        query = " ".join(chance.choices(WORDS, k=chance.randint(1, 4)))[: chance.randint(3, 30)]
        strategy = chance.choice(["last", "all"])
        request = search_request(
            {"q": query, "limit": 100, "showRankingScoreDetails": True, "matchingStrategy": strategy}
        )
        one = {hit["id"]: hit for hit in search(whole, request)["hits"]}
        parts = {hit["id"]: hit for shard in shards for hit in search(shard, request)["hits"]}
        assert set(parts) == set(one), query
        for number, hit in parts.items():
            assert counts(hit) == counts(one[number]), (query, number)


def test_punctuation_of_the_shard_marker_has_no_word() -> None:
    assert Tokenizer().words("§¶†‡•※" * 3, 0) == ([], [])


def test_deleting_and_adding_leaves_the_structures_as_if_made_at_once() -> None:
    documents = [{"id": number, "title": WORDS[number % 12], "body": "a b"} for number in range(20)]
    index = index_of(documents)
    index.apply(index.prepare([index.deletion(number) for number in (3, 7, 11)]))
    fresh = [Change(number=index.allocate(), id=f"x{n}", old=None, new=d, body=encode(d)) for n, d in enumerate(NEW)]
    index.apply(index.prepare(fresh))
    rows = [(number, index.ids[number], index.bodies[number]) for number in sorted(index.bodies)]
    other = index_of([])
    other.load(rows)
    assert [change.number for change in fresh] == [3, 7, 11]
    assert {word: list(places) for word, places in index.words.postings.items()} == {
        word: list(places) for word, places in other.words.postings.items()
    }
    assert (index.universe, index.words.counts) == (other.universe, other.words.counts)


NEW = [{"id": f"x{number}", "title": "new word", "body": "sun"} for number in range(3)]

"""The embedded node beside a real Meilisearch: generated corpora, filters and queries, the same answers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.contract.conftest import running_server
from tests.contract.server import Index, Server
from tests.contract.test_filters import DOCUMENTS, FILTERABLE, generated

pytestmark = pytest.mark.live

SYLLABLES = ["ba", "ko", "ri", "ta", "me", "lo", "su", "na", "vi", "pe", "do", "ge", "ster", "land", "wood", "ton"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    with (
        running_server("meilisearch", tmp_path_factory.mktemp("real")) as real,
        running_server("embedded", tmp_path_factory.mktemp("embedded")) as embedded,
    ):
        yield embedded, real


def test_generated_filters_keep_the_same_documents(both: tuple[Server, Server]) -> None:
    left, right = (server.index(DOCUMENTS, {"filterableAttributes": FILTERABLE}) for server in both)
    chance = random.Random(11)
    for _ in range(400):
        text = generated(chance)
        assert left.ids(filter=text) == right.ids(filter=text), text


def misspelt(chance: random.Random, word: str) -> str:
    """The word with a letter changed, added, left out or swapped."""
    letters, place = list(word), chance.randrange(len(word))
    kind = chance.randrange(4)
    if kind == 0:
        letters[place] = chance.choice("aeiourt")
    elif kind == 1:
        letters.insert(place, chance.choice("aeiourt"))
    elif kind == 2 and len(letters) > 1:
        del letters[place]
    elif place + 1 < len(letters):
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def make_words(chance: random.Random) -> list[str]:
    words = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) for _ in range(150)]
    return words + [misspelt(chance, word) for word in words[:40]]


def make_text(chance: random.Random, words: list[str], least: int, most: int) -> str:
    weights = [1 / (place + 3) for place in range(len(words))]
    chosen = chance.choices(words, weights, k=chance.randint(least, most))
    return "".join(word + chance.choice([" ", " ", " ", ", ", ". ", "-"]) for word in chosen)


def make_query(chance: random.Random, words: list[str]) -> str:
    weights = [1 / (place + 3) for place in range(len(words))]
    chosen = chance.choices(words, weights, k=chance.choice((1, 2, 2, 3, 4)))
    chosen = [misspelt(chance, word) if chance.random() < 0.3 else word for word in chosen]
    kind = chance.random()
    if kind < 0.15 and len(chosen) > 1:
        return f'"{chosen[0]} {chosen[1]}" ' + " ".join(chosen[2:])
    return " ".join(chosen) + (f" -{chance.choice(words)}" if kind > 0.9 else "")


@pytest.mark.parametrize("seed", [1, 2])
def test_generated_queries_find_the_same_documents(both: tuple[Server, Server], seed: int) -> None:
    """The sets agree but for split words, the orders but for the named differences: at most 4 in 100."""
    chance = random.Random(seed)
    words = make_words(chance)
    documents = [
        {"id": number, "title": make_text(chance, words, 1, 4), "body": make_text(chance, words, 3, 25)}
        for number in range(200)
    ]
    left, right = (server.index(documents, {"searchableAttributes": ["title", "body"]}) for server in both)
    sets, orders = _compare(left, right, [make_query(chance, words) for _ in range(150)])
    assert (sets <= 1, orders <= 6) == (True, True), (sets, orders)


def _compare(left: Index, right: Index, queries: list[str]) -> tuple[int, int]:
    sets = orders = 0
    for query in queries:
        found, expected = (index.ids(q=query, limit=200) for index in (left, right))
        sets += set(found) != set(expected)
        orders += found != expected
    return sets, orders

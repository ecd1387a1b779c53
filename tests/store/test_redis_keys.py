"""The names of keys in Redis."""

from __future__ import annotations

from dataclasses import replace

from miroir_cli.model import Index, IndexUid
from miroir_cli.store.redis.keys import content_key, content_of, key, listing

BOOKS = Index(uid=IndexUid("books"), incarnation=1, primary_key="id", shards=1, replicas=1, created_at=7)


def test_no_record_has_the_key_of_a_listing() -> None:
    assert (key("indexes", "books"), listing("indexes")) == ("miroir:indexes:books", "miroir:indexes:_index")
    names = ["_index", "__index", "___index", "index"]
    assert len({listing("indexes"), *(key("indexes", name) for name in names)}) == 5


def test_an_index_is_the_same_under_another_name_and_its_successor_is_not() -> None:
    renamed = replace(BOOKS, uid=IndexUid("films"), incarnation=2)
    assert content_key(renamed) == content_key(BOOKS)
    assert content_of({"stored_as": BOOKS.stored_as, "created_at": "7"}) == content_key(BOOKS)
    assert content_key(replace(BOOKS, created_at=8)) != content_key(BOOKS)
    assert listing("intents", content_key(BOOKS)) == "miroir:intents:books@7:_index"

"""What makes two copies of a shard equal: keys, documents and vectors. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

Documents = Mapping[str, msgspec.Raw]
"""Documents by primary key as text, each as the JSON that its node answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a copy differs from the one it should be equal to, by primary keys."""

    missing: frozenset[str] = frozenset()
    extra: frozenset[str] = frozenset()
    different: frozenset[str] = frozenset()

    @property
    def keys(self) -> frozenset[str]:
        return self.missing | self.extra | self.different

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.different)

    @classmethod
    def union(cls, parts: Iterable[Difference]) -> Difference:
        """All parts together."""
        listed = list(parts)
        return cls(
            missing=frozenset().union(*(part.missing for part in listed)),
            extra=frozenset().union(*(part.extra for part in listed)),
            different=frozenset().union(*(part.different for part in listed)),
        )

    def only(self, keys: Set[str]) -> Difference:
        """The part of it that concerns these keys."""
        return Difference(missing=self.missing & keys, extra=self.extra & keys, different=self.different & keys)


def compare(expected: Documents, found: Documents) -> Difference:
    """How `found` differs from `expected`."""
    return Difference(
        missing=frozenset(expected.keys() - found.keys()),
        extra=frozenset(found.keys() - expected.keys()),
        different=frozenset(
            key for key in expected.keys() & found.keys() if not same(bytes(expected[key]), bytes(found[key]))
        ),
    )


def same(left: bytes, right: bytes) -> bool:
    """Whether two documents say the same; fields may stand in another order, and what a node made itself from the
    rest (embeddings that it regenerates) does not count."""
    if left == right:
        return True
    one, other = _without_generated(msgspec.json.decode(left)), _without_generated(msgspec.json.decode(right))
    return _comparable(one) == _comparable(other)


def _comparable(document: Any) -> object:
    """A value in which 1, 1.0 and true are three things, as they are for JSON."""
    if isinstance(document, dict):
        return {name: _comparable(value) for name, value in document.items()}
    if isinstance(document, list):
        return [_comparable(value) for value in document]
    return (type(document), document)


def _provided(vector: Any) -> Any:
    """An embedder's part of `_vectors`, without embeddings that the node regenerates."""
    if isinstance(vector, dict) and vector.get("regenerate"):
        return {"regenerate": True}
    return vector


NO_VECTORS = b',"_vectors":{}}'
"""How an answer with vectors ends for a document that has none."""


def as_written(document: msgspec.Raw) -> bytes:
    """A document as it is sent to another node: what that node makes itself is left out. Without vectors it is the
    same byte for byte."""
    plain = bytes(document)
    if plain.endswith(NO_VECTORS):
        plain = plain[: -len(NO_VECTORS)] + b"}"
    if b'"_vectors"' not in plain:
        return plain
    return msgspec.json.encode(_without_generated(msgspec.json.decode(plain)))


def _without_generated(document: dict[str, Any]) -> dict[str, Any]:
    """A document without embeddings that its node has generated, and without `_vectors` that say nothing."""
    vectors = document.get("_vectors")
    if not isinstance(vectors, dict):
        return document
    kept = {name: _provided(value) for name, value in vectors.items()}
    rest = {name: value for name, value in document.items() if name != "_vectors"}
    return {**rest, "_vectors": kept} if kept else rest


class Reader:
    """Reads answers of `documents/fetch` for an index with a primary key."""

    def __init__(self, primary_key: str) -> None:
        plain = primary_key.isprintable() and '"' not in primary_key and "\\" not in primary_key
        self._read: Callable[[bytes], list[str]] = self._struct_keys(primary_key) if plain else self._dict_keys
        self._primary_key = primary_key
        self._pages = msgspec.json.Decoder(_Page)
        self._counts = msgspec.json.Decoder(_Count)

    def keys(self, answer: bytes) -> list[str]:
        """The primary keys of an answer's documents, as text."""
        return self._read(answer)

    def documents(self, answer: bytes) -> dict[str, msgspec.Raw]:
        """The documents of an answer by their keys."""
        return dict(zip(self._read(answer), self._pages.decode(answer).results, strict=True))

    def total(self, answer: bytes) -> int:
        return self._counts.decode(answer).total

    def _struct_keys(self, primary_key: str) -> Callable[[bytes], list[str]]:
        decoder = _key_pages(primary_key)
        return lambda answer: [str(found.key) for found in decoder.decode(answer).results]

    def _dict_keys(self, answer: bytes) -> list[str]:
        return [str(document[self._primary_key]) for document in msgspec.json.decode(answer)["results"]]


@lru_cache(maxsize=32)
def _key_pages(primary_key: str) -> msgspec.json.Decoder[Any]:
    """Reads nothing of a document but its key. Made once for all shards: it takes a millisecond."""
    document = msgspec.defstruct("Document", [("key", int | str, msgspec.field(name=primary_key))], gc=False)
    return msgspec.json.Decoder(msgspec.defstruct("KeyPage", [("results", list[document])]))  # type: ignore[valid-type]


class _Page(msgspec.Struct):
    results: list[msgspec.Raw]


class _Count(msgspec.Struct):
    total: int

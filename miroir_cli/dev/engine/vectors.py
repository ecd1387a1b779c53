"""Vectors that come with documents: reading `_vectors`, keeping them, and who is near by looking at all of them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .index import Index

Vector = tuple[float, ...]
FIELD = "_vectors"
_SMALLEST = 2.0**-23
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Documents that are equally near, and how near from 0 to 1; None for documents without a vector."""

    similarity: float | None
    documents: int


class Store:
    """The vectors of one index: embedder -> document number -> its vectors."""

    def __init__(self) -> None:
        self.vectors: dict[str, dict[int, list[Vector]]] = {}

    def add(self, number: int, document: Mapping[str, Any], embedders: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the vectors of a document, those of another number of dimensions left out."""
        for name, embedder in embedders.items():
            given = (document.get(FIELD) or {}).get(name)
            vectors = [tuple(vector) for vector in _vectors(given) if len(vector) == embedder["dimensions"]]
            if vectors:
                self.vectors.setdefault(name, {})[number] = vectors

    def remove(self, number: int) -> None:
        """Forget a document."""
        for found in self.vectors.values():
            found.pop(number, None)

    def neighbours(self, embedder: str, vector: Sequence[float], universe: int) -> Iterable[Neighbour]:
        """All documents of a universe, the nearest first, each by its nearest vector; last those without."""
        target = tuple(map(single, vector))
        groups: dict[float, int] = {}
        rest = universe
        for number, vectors in self.vectors.get(embedder, {}).items():
            if universe >> number & 1:
                near = max(similarity(target, other) for other in vectors)
                groups[near] = groups.get(near, 0) | 1 << number
                rest &= ~(1 << number)
        for near in sorted(groups, reverse=True):
            yield Neighbour(near, groups[near])
        if rest:
            yield Neighbour(None, rest)


def single(value: float) -> float:
    """A number in single precision."""
    found: float = struct.unpack("f", struct.pack("f", value))[0]
    return found


def similarity(one: Vector, other: Vector) -> float:
    """The cosine, moved from -1..1 to 0..1; 1 where a vector has no length."""
    lengths = sqrt(sum(x * x for x in one)) * sqrt(sum(x * x for x in other))
    if lengths <= _SMALLEST:
        return 1.0
    cosine = sum(x * y for x, y in zip(one, other, strict=True)) / lengths
    return single(1 - single((1 - max(-1.0, min(1.0, cosine))) / 2))


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """The document without its vectors."""
    return {name: value for name, value in document.items() if name != FIELD} if FIELD in document else document


def _vectors(value: Any) -> list[list[float]]:
    """The embeddings in a part of `_vectors`, whose shape was checked."""
    if isinstance(value, dict):
        value = value.get("embeddings")
    if not value:
        return []
    return value if isinstance(value[0], list) else [value]


def are_hidden(index: Index) -> bool:
    """Whether searches keep vectors back: where attributes are listed, whether they are displayed is turned around as
    soon as a document had any, in Meilisearch as well."""
    displayed = index.settings.displayed
    return displayed is not None and (FIELD in displayed) == (FIELD in index.fields)


def shown(index: Index, given: Any) -> dict[str, Any]:
    """`_vectors` as a client gets them: every embedder of the index, and what the document has for others."""
    result = dict(given) if isinstance(given, dict) else {}
    for name in sorted(index.settings["embedders"]):
        value = result.pop(name, None)
        regenerate = isinstance(value, dict) and value["regenerate"]
        result[name] = {"embeddings": _vectors(value), "regenerate": regenerate}
    return result


def kept(index: Index, id_: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document as it is stored: with the vectors that it had before where it brings none.

    Raises `EngineError` for what does not fit the embedders, and for a document that lacks vectors.
    """
    if FIELD not in document and not index.settings["embedders"]:
        return document
    given = document.get(FIELD, {})
    if not isinstance(given, dict):
        raise EngineError(
            "internal", f"Index `{index.uid}`: invalid type: `{given}`, expected a map at line 1 column 1"
        )
    for name, value in given.items():
        _check_shape(index.uid, id_, name, value)
    before = index.document(index.numbers[id_]).get(FIELD) or {} if id_ in index.numbers else {}
    return {**document, FIELD: complete(index.uid, index.settings["embedders"], id_, given, before)}


def with_vectors(index: Index, embedders: Mapping[str, Mapping[str, Any]]) -> dict[int, bytes]:
    """The documents that change with new embedders, which find their vectors in `_vectors`; raises as `kept` does."""
    new = {name: embedder for name, embedder in embedders.items() if name not in index.settings["embedders"]}
    changed: dict[int, bytes] = {}
    for number, id_ in index.ids.items() if new else ():
        document = index.document(number)
        vectors = complete(index.uid, new, id_, document.get(FIELD) or {}, {})
        changed[number] = msgspec.json.encode({**document, FIELD: vectors})
    return changed


def complete(
    uid: str,
    embedders: Mapping[str, Mapping[str, Any]],
    id_: str,
    given: Mapping[str, Any],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """A document's `_vectors` with those of every embedder spelled in full; raises as `kept` does."""
    result = dict(given)
    for name, embedder in embedders.items():
        value = given.get(name) if name in given else before.get(name, _LACKING)
        if name in before and _brings_nothing(value):
            result[name] = before[name]
        elif isinstance(value, dict) and value["regenerate"] and (name not in given or not value.get("embeddings")):
            raise _missing(uid, name, id_)
        else:
            result[name] = _spelled(uid, id_, name, value, embedder["dimensions"])
    return result


_LACKING = {"regenerate": True}


def _brings_nothing(value: Any) -> bool:
    """Whether it leaves the document's vectors as they are."""
    return isinstance(value, dict) and not value["regenerate"] and value.get("embeddings") is None


def _missing(uid: str, embedder: str, id_: str) -> EngineError:
    message = (
        f"Index `{uid}`: While embedding documents for embedder `{embedder}`: no vectors provided for document"
        f" `{id_}`\n- Note: `{embedder}` has `source: userProvided`, so documents must provide embeddings as an array"
        f" in `_vectors.{embedder}`.\n- Hint: opt-out for a document with `_vectors.{embedder}: null`"
    )
    return EngineError("vector_embedding_error", message)


def _check_shape(uid: str, id_: str, name: str, value: Any) -> None:
    where = f"._vectors.{name}"
    if value is None or isinstance(value, list):
        return
    wanted = "an array of floats, an array of arrays of floats, or an object with"
    if not isinstance(value, dict):
        shown = str(value).lower() if isinstance(value, bool) else value
        got = f"but got the {_KINDS[type(value)]} `{shown}`"
        raise _bad(uid, id_, f"Expected `{where}` to be {wanted} at least the field `regenerate`, {got}")
    if unknown := sorted(set(value) - {"embeddings", "regenerate"}):
        note = "\n  - note: the allowed fields are `regenerate` and `embeddings`"
        raise _bad(uid, id_, f"Unexpected field `{where}.{unknown[0]}`{note}")
    if "regenerate" not in value:
        note = f"\n  - note: `{where}` must be {wanted} field `regenerate`"
        raise _bad(uid, id_, f"Missing field `{where}.regenerate`{note}")
    if not isinstance(value["regenerate"], bool):
        raise _bad(uid, id_, f"Could not parse `{where}.regenerate`: expected a boolean")


def _spelled(uid: str, id_: str, name: str, value: Any, dimensions: int) -> dict[str, Any]:
    """A document's vectors for one embedder as they are kept, in single precision."""
    where = f"._vectors.{name}.embeddings" if isinstance(value, dict) else f"._vectors.{name}"
    embeddings = value.get("embeddings") if isinstance(value, dict) else value
    if embeddings is not None and not _are_vectors(embeddings):
        raise _bad(uid, id_, f"Invalid value type at `{where}`: expected numbers")
    vectors = [list(map(single, vector)) for vector in _vectors(embeddings)]
    for place, vector in enumerate(vectors):
        if len(vector) != dimensions:
            message = (
                f"Index `{uid}`: Invalid vector dimensions in document with id `{id_}` in `._vectors.{name}`."
                f"\n  - note: embedding #{place} has dimensions {len(vector)}"
                f"\n  - note: embedder `{name}` requires {dimensions}"
            )
            raise EngineError("invalid_vector_dimensions", message)
    return {"embeddings": vectors, "regenerate": isinstance(value, dict) and value["regenerate"]}


def _bad(uid: str, id_: str, problem: str) -> EngineError:
    message = f"Index `{uid}`: Bad embedder configuration in the document with id: `{id_}`. {problem}"
    return EngineError("invalid_vectors_type", message)


def _are_vectors(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    rows = value if value and isinstance(value[0], list) else [value]
    return all(isinstance(row, list) and all(_is_number(item) for item in row) for row in rows)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

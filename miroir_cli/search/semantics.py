"""What a search asks of vectors, and the requests that this makes for the nodes. Pure.

Source of the kinds: `routes/indexes/search.rs` of Meilisearch 1.50, where the order of the cases matters.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from miroir_cli.model import shard_filter
from miroir_cli.search.view import VECTORS

if TYPE_CHECKING:
    from miroir_cli.model import Json

Kind = Literal["keyword", "semantic", "hybrid"]

DEFAULT_RATIO = 0.5
NEARLY_ONE = 0.99999994
"""The largest share below 1 in single precision. At 1 a node does not look at the words of the query, and marks none
of them; below, it ranks by vectors first."""

_MARKS = ("attributesToHighlight", "attributesToCrop", "showMatchesPosition")

CANNOT_EMBED = "vector_embedding_error"
"""The code of a node that could not make a vector of a text. In a hybrid search the words alone are searched then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """How a search ranks: by words (`keyword`), by vectors, or by both. `ratio` is the share of the vectors.

    `embedder` and `ratio` mean something for the latter two alone, `vector` is None where the nodes must make it of
    the text.
    """

    kind: Kind
    embedder: str = ""
    ratio: float = 0.0
    vector: Sequence[float] | None = None


def semantics_of(request: Json) -> Semantics | None:
    """What a request asks; None where a part of it is wrong, which a node has to say."""
    query, vector, hybrid = request.get("q"), request.get("vector"), request.get("hybrid")
    if not isinstance(query, str | None) or not (vector is None or _is_vector(vector)):
        return None
    if hybrid is None:
        return Semantics(kind="keyword") if vector is None else None
    if not isinstance(hybrid, Mapping) or hybrid.keys() - {"embedder", "semanticRatio"}:
        return None
    embedder, ratio = hybrid.get("embedder"), hybrid.get("semanticRatio", DEFAULT_RATIO)
    if not isinstance(embedder, str) or not is_number(ratio) or not 0 <= ratio <= 1:
        return None
    ratio, asks = single(ratio), bool(query and query.strip())
    if ratio == 0 or (not asks and vector is None):
        return Semantics(kind="keyword")
    kind: Kind = "hybrid" if asks and ratio < 1 else "semantic"
    return Semantics(kind=kind, embedder=embedder, ratio=ratio, vector=vector)


def single(value: float) -> float:
    """The number in single precision, in which Meilisearch keeps shares and vectors."""
    found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return found


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_number, value))


def keyword_request(request: Json) -> dict[str, Any]:
    """The part of a hybrid search that looks at words."""
    return {key: value for key, value in request.items() if key not in ("vector", "hybrid")}


def vector_request(
    request: Json, asked: Semantics, vector: Sequence[float], *, distinct: bool = False
) -> dict[str, Any]:
    """The part of a search that looks at vectors, with the vector that every node shall look for.

    Nodes look at the words of a hybrid search as well, because they mark them, and leave out documents with words that
    must not be there. Then they take documents without a vector for found by their words, which with `distinct` changes
    what else they find: where nothing is marked or left out they do not get to see the words.
    """
    sees_words = any(request.get(key) for key in _MARKS) or "-" in (request.get("q") or "")
    ratio = NEARLY_ONE if asked.kind == "hybrid" and (sees_words or not distinct) else 1
    return {**request, "vector": vector, "hybrid": {"embedder": asked.embedder, "semanticRatio": ratio}}


def embedding_request(request: Json, asked: Semantics) -> dict[str, Any]:
    """What makes a node tell the vector of the text (`queryVector`), and compare it with no other."""
    hybrid = {"embedder": asked.embedder, "semanticRatio": 1}
    return {"q": request["q"], "hybrid": hybrid, "retrieveVectors": True, "limit": 0, "filter": shard_filter(())}


def checking_request(request: Json) -> dict[str, Any]:
    """What makes a node check the embedder and the vector, and look for nothing."""
    kept = {key: request[key] for key in ("q", "vector", "hybrid") if key in request}
    return {**kept, "limit": 0}


def settle_vectors(hits: Iterable[dict[str, Any]], displayed: frozenset[str]) -> None:
    """Show `_vectors` in all of the hits or in none, where a list of attributes is displayed.

    Meilisearch turns the meaning of the list around as soon as any document had the field, which a node knows of its
    own documents alone: it shows the field unless it is listed.
    """
    found = list(hits)
    known = sum(VECTORS in hit for hit in found)
    if VECTORS in displayed and known < len(found):
        for hit in found:
            hit.pop(VECTORS, None)
    elif VECTORS not in displayed and known:
        for hit in found:
            hit.setdefault(VECTORS, {})

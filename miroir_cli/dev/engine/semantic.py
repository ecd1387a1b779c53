"""Ranking by vectors, alone or beside words: which of them a request means, and the two rankings merged."""

from __future__ import annotations

from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

from .errors import EngineError
from .geo import distance
from .ranking import Near, Ranked
from .score import GeoSort, Sort, global_score, groups
from .vectors import single

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .index import Index
    from .parameters import SearchRequest
    from .score import Detail

Kind = Literal["words", "vector", "both"]
Hit = tuple[int, tuple["Detail", ...]]

_GOOD_ENOUGH = 0.45
_EPSILON = 2.0**-52


def kind_of(request: SearchRequest) -> Kind:
    """Return what a request is ranked by."""
    hybrid, asks = request.hybrid, bool((request.q or "").strip())
    if hybrid is None or hybrid.ratio == 0 or (not asks and request.vector is None):
        return "words"
    return "both" if asks and hybrid.ratio < 1 else "vector"


def check(index: Index, request: SearchRequest) -> None:
    """Refuse an embedder that the index does not have, and a vector that does not fit it."""
    assert request.hybrid is not None
    embedder = index.settings["embedders"].get(request.hybrid.embedder)
    if embedder is None:
        message = f"Cannot find embedder with name `{request.hybrid.embedder}`."
        raise EngineError("invalid_search_embedder", message)
    if request.vector is not None and len(request.vector) != embedder["dimensions"]:
        wanted = f"expected: `{embedder['dimensions']}`, found: `{len(request.vector)}`."
        raise EngineError("invalid_vector_dimensions", f"Invalid vector dimensions: {wanted}")


def near(request: SearchRequest) -> Near | None:
    """Return the vector to rank by; None when there is only text, which this node cannot make one of."""
    if request.vector is None or request.hybrid is None:
        return None
    return Near(request.hybrid.embedder, tuple(map(single, request.vector)))


def cannot_embed(text: str | None) -> EngineError:
    """Say that a text has no vector."""
    message = (
        "Error while generating embeddings: user error: attempt to embed the following text in a configuration"
        f" where embeddings must be user provided:\n  - `{text}`"
    )
    return EngineError("vector_embedding_error", message)


def good_enough(hits: Sequence[Hit], *, wanted: int, ratio: float) -> bool:
    """Tell whether what was found by words makes a look at the vectors unnecessary."""
    share = single(1 - ratio)
    return len(hits) >= wanted and all(global_score(details) * share >= _GOOD_ENOUGH for _, details in hits)


def merged(index: Index, vector: Ranked, words: Ranked, *, ratio: float, distinct: str | None, wanted: int) -> Ranked:
    """Merge two rankings; a document stands where it comes first."""
    shares = ratio, single(1 - ratio)
    result = Ranked(candidates=vector.candidates | words.candidates)
    left, right = list(vector.hits), list(words.hits)
    excluded = 0
    while (left or right) and len(result.hits) < wanted:
        from_vector = bool(left) and (not right or compare(left[0][1], shares[0], right[0][1], shares[1]) >= 0)
        number, details = (left if from_vector else right).pop(0)
        if excluded >> number & 1:
            continue
        excluded |= 1 << number
        if distinct is not None:
            excluded |= index.same_values(distinct, number)
        result.hits.append((number, details))
    if distinct is not None:
        result.candidates &= ~excluded
        for number, _ in result.hits:
            result.candidates |= 1 << number
    return result


def compare(one: Sequence[Detail], share: float, other: Sequence[Detail], other_share: float) -> int:
    """Compare two hits whose scores count by their shares: 1 when the first is better, -1, or 0."""
    for left, right in zip_longest(groups(one), groups(other)):
        if left is None or right is None:
            return -1 if left is None else 1
        if isinstance(left, float) and isinstance(right, float):
            difference = left * share - right * other_share
            order = 0 if abs(difference) <= _EPSILON else 1 if difference > 0 else -1
        elif isinstance(left, float):
            return -1 if left == 0 else 1
        elif isinstance(right, float):
            return 1 if right == 0 else -1
        else:
            order = _compare_sorts(left, right)
        if order:
            return order
    return 0


def _compare_sorts(left: Sort | GeoSort, right: Sort | GeoSort) -> int:
    key = _metres if isinstance(left, GeoSort) else partial(_place, descending=not left.ascending)
    one, other = key(left), key(right)  # type: ignore[arg-type]
    return 0 if one == other else 1 if one < other else -1


def _place(sort: Sort, *, descending: bool) -> tuple[int, float | _Text]:
    if sort.value is None:
        return 2, 0
    if isinstance(sort.value, str):
        return 1, _Text(sort.value, descending)
    return 0, -sort.value if descending else sort.value


class _Text:
    """A text that is compared in one of the two directions."""

    def __init__(self, text: str, descending: bool) -> None:
        self.text, self.descending = text, descending

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and self.text == other.text

    def __lt__(self, other: _Text) -> bool:
        return other.text < self.text if self.descending else self.text < other.text

    def __hash__(self) -> int:
        return hash(self.text)


def _metres(sort: GeoSort) -> tuple[int, float]:
    if sort.point is None:
        return 1, 0
    metres = distance(sort.target, sort.point)
    return 0, metres if sort.ascending else -metres

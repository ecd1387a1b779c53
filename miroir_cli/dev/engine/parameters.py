"""Reading requests: typed parameters with Meilisearch's error codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import EngineError, not_supported
from .vectors import single

if TYPE_CHECKING:
    from collections.abc import Mapping

Kinds = str  # "str", "int", "bool", "float", "strs" (list of strings), "any"


def snake(name: str) -> str:
    """`hitsPerPage` -> `hits_per_page`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def take(values: Mapping[str, Any], kinds: Mapping[str, Kinds], prefix: str) -> dict[str, Any]:
    """Check the types of known parameters; unknown names are refused, nulls left out.

    The error code of a wrong value is `invalid_<prefix>_<name>`.
    """
    result: dict[str, Any] = {}
    for name, value in values.items():
        kind = kinds.get(name)
        if kind is None:
            known = ", ".join(f"`{key}`" for key in kinds)
            raise EngineError("bad_request", f"Unknown field `{name}`: expected one of {known}")
        if value is None:
            continue
        if not _fits(value, kind):
            code = f"invalid_{prefix}_{snake(name)}"
            raise EngineError(code, f"Invalid value type at `.{name}`: expected {_NAMES[kind]}")
        result[name] = value
    return result


_NAMES = {
    "str": "a string", "int": "a positive integer", "bool": "a boolean", "float": "a number",
    "strs": "an array", "any": "a value", "object": "an object",
}  # fmt: skip


def _fits(value: Any, kind: Kinds) -> bool:
    if kind == "any":
        return True
    if kind == "strs":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, {"str": str, "bool": bool, "object": dict}[kind])


def from_query(query: Mapping[str, str], kinds: Mapping[str, Kinds], prefix: str) -> dict[str, Any]:
    """Turn query parameters into values of their kinds; lists are comma separated."""
    values: dict[str, Any] = {}
    for name, text in query.items():
        kind = kinds.get(name, "any")
        code = f"invalid_{prefix}_{snake(name)}"
        if kind == "strs":
            values[name] = text.split(",") if text else []
        elif kind in ("int", "float"):
            try:
                values[name] = int(text) if kind == "int" else float(text)
            except ValueError:
                raise EngineError(code, f"Invalid value in parameter `{name}`: `{text}`") from None
            if kind == "int" and values[name] < 0:
                raise EngineError(code, f"Invalid value in parameter `{name}`: `{text}`")
        elif kind == "bool":
            if text not in ("true", "false"):
                raise EngineError(code, f"Invalid value in parameter `{name}`: `{text}`")
            values[name] = text == "true"
        else:
            values[name] = text
    unknown = [name for name in values if name not in kinds]
    if unknown:
        known = ", ".join(f"`{key}`" for key in kinds)
        raise EngineError("bad_request", f"Unknown parameter `{unknown[0]}`: expected one of {known}")
    return values


SEARCH_KINDS: dict[str, Kinds] = {
    "q": "str", "offset": "int", "limit": "int", "page": "int", "hitsPerPage": "int",
    "attributesToRetrieve": "strs", "retrieveVectors": "bool", "attributesToCrop": "strs",
    "cropLength": "int", "attributesToHighlight": "strs", "showMatchesPosition": "bool",
    "showRankingScore": "bool", "showRankingScoreDetails": "bool", "showPerformanceDetails": "bool",
    "useNetwork": "bool", "filter": "any", "sort": "strs", "distinct": "str", "facets": "strs",
    "highlightPreTag": "str", "highlightPostTag": "str", "cropMarker": "str", "matchingStrategy": "str",
    "attributesToSearchOn": "strs", "rankingScoreThreshold": "float", "locales": "any",
    "vector": "any", "media": "any", "hybrid": "any", "personalize": "any",
}  # fmt: skip
_REFUSED = ("media", "personalize", "locales", "useNetwork", "showPerformanceDetails")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """How much the vectors count beside the words: 0 not at all, 1 alone."""

    embedder: str
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A search as asked, with Meilisearch's defaults."""

    q: str | None = None
    offset: int = 0
    limit: int = 20
    page: int | None = None
    hits_per_page: int | None = None
    attributes_to_retrieve: list[str] | None = None
    retrieve_vectors: bool = False
    attributes_to_crop: list[str] | None = None
    crop_length: int = 10
    attributes_to_highlight: list[str] | None = None
    show_matches_position: bool = False
    show_ranking_score: bool = False
    show_ranking_score_details: bool = False
    filter: Any = None
    sort: list[str] | None = None
    distinct: str | None = None
    facets: list[str] | None = None
    highlight_pre_tag: str = "<em>"
    highlight_post_tag: str = "</em>"
    crop_marker: str = "…"
    matching_strategy: str = "last"
    attributes_to_search_on: list[str] | None = None
    ranking_score_threshold: float | None = None
    vector: list[float] | None = None
    hybrid: Hybrid | None = None

    @property
    def is_finite(self) -> bool:
        """Tell whether pages and exact totals were asked for."""
        return self.page is not None or self.hits_per_page is not None


def search_request(values: Mapping[str, Any]) -> SearchRequest:
    """Check a search body."""
    taken = take(values, SEARCH_KINDS, "search")
    for name in _REFUSED:
        if taken.pop(name, None) not in (None, False):
            raise not_supported(f"The search parameter `{name}`")
    strategy = taken.get("matchingStrategy", "last")
    if strategy not in ("last", "all", "frequency"):
        message = f"Unknown value `{strategy}` at `.matchingStrategy`: expected one of `last`, `all`, `frequency`"
        raise EngineError("invalid_search_matching_strategy", message)
    if strategy == "frequency":
        raise not_supported("The matching strategy `frequency`")
    threshold = taken.get("rankingScoreThreshold")
    if threshold is not None and not 0 <= threshold <= 1:
        message = "Invalid value at `.rankingScoreThreshold`: the value should be between `0.0` and `1.0`"
        raise EngineError("invalid_search_ranking_score_threshold", message)
    if "hybrid" in taken:
        taken["hybrid"] = _hybrid(taken["hybrid"])
    if "vector" in taken:
        _check_vector(taken["vector"])
        if "hybrid" not in taken:
            message = "Invalid request: missing `hybrid` parameter when `vector` or `media` are present."
            raise EngineError("missing_search_hybrid", message)
    return SearchRequest(**{snake(name): value for name, value in taken.items()})


def _hybrid(value: Any) -> Hybrid:
    code = "invalid_search_hybrid_query"
    if not isinstance(value, dict):
        raise EngineError(code, "Invalid value type at `.hybrid`: expected an object")
    if unknown := [name for name in value if name not in ("semanticRatio", "embedder")]:
        message = f"Unknown field `{unknown[0]}` inside `.hybrid`: expected one of `semanticRatio`, `embedder`"
        raise EngineError(code, message)
    if "embedder" not in value:
        raise EngineError(code, "Missing field `embedder` inside `.hybrid`")
    if not isinstance(value["embedder"], str):
        message = "Invalid value type at `.hybrid.embedder`: expected a string"
        raise EngineError("invalid_search_embedder", message)
    ratio = value.get("semanticRatio", 0.5)
    if not _fits(ratio, "float"):
        message = "Invalid value type at `.hybrid.semanticRatio`: expected a number"
        raise EngineError("invalid_search_semantic_ratio", message)
    if not 0 <= ratio <= 1:
        wanted = "the value of `semanticRatio` is invalid, expected a float between `0.0` and `1.0`."
        raise EngineError("invalid_search_semantic_ratio", f"Invalid value at `.hybrid.semanticRatio`: {wanted}")
    return Hybrid(embedder=value["embedder"], ratio=single(ratio))


def _check_vector(value: Any) -> None:
    if not isinstance(value, list):
        raise EngineError("invalid_search_vector", "Invalid value type at `.vector`: expected an array")
    for place, number in enumerate(value):
        if not _fits(number, "float"):
            message = f"Invalid value type at `.vector[{place}]`: expected a number"
            raise EngineError("invalid_search_vector", message)


SIMILAR_KINDS: dict[str, Kinds] = {
    "id": "any", "offset": "int", "limit": "int", "filter": "any", "embedder": "str", "attributesToRetrieve": "strs",
    "retrieveVectors": "bool", "showRankingScore": "bool", "showRankingScoreDetails": "bool",
    "showPerformanceDetails": "bool", "rankingScoreThreshold": "float",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarRequest:
    """A search for what is like a document, as asked, with Meilisearch's defaults."""

    id: Any
    embedder: str
    offset: int = 0
    limit: int = 20
    filter: Any = None
    attributes_to_retrieve: list[str] | None = None
    retrieve_vectors: bool = False
    show_ranking_score: bool = False
    show_ranking_score_details: bool = False
    ranking_score_threshold: float | None = None


def similar_request(values: Mapping[str, Any]) -> SimilarRequest:
    """Check the body of a search for similar documents."""
    taken = take(values, SIMILAR_KINDS, "similar")
    for name in ("id", "embedder"):
        if name not in values:
            raise EngineError("bad_request", f"Missing field `{name}`")
    if taken.pop("showPerformanceDetails", False):
        raise not_supported("The parameter `showPerformanceDetails`")
    threshold = taken.get("rankingScoreThreshold")
    if threshold is not None and not 0 <= threshold <= 1:
        wanted = "the value of `rankingScoreThreshold` is invalid, expected a float between `0.0` and `1.0`."
        code = "invalid_similar_ranking_score_threshold"
        raise EngineError(code, f"Invalid value at `.rankingScoreThreshold`: {wanted}")
    taken.setdefault("id", None)
    return SimilarRequest(**{snake(name): value for name, value in taken.items()})

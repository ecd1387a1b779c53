"""Requests made of the parameters of a URL, as Meilisearch reads them. Pure.

None stands for parameters that cannot be read: a node has the words to say why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from miroir_cli.proxy.nesting import read_json
from miroir_cli.proxy.parameters import digits_of

Parameters = Mapping[str, str]
Parse = Callable[[str], Any]


def _whole(text: str) -> int:
    return int(digits_of(text))


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _list(text: str) -> list[str]:
    return text.split(",")


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number) or "_" in text or text != text.strip():
        raise ValueError(text)
    return number


def _numbers(text: str) -> list[float]:
    return [_number(part) for part in text.split(",")]


def _fields(text: str) -> list[str] | None:
    return None if text == "*" else text.split(",")


def _filter(text: str) -> Any:
    """A filter is an expression, or JSON with one or a list of them."""
    try:
        return read_json(text.encode())
    except ValueError:
        return text


def sort_list(text: str) -> list[str]:
    """The rules of a `sort` parameter; the commas of a `_geoPoint(...)` do not part two of them."""
    rules: list[str] = []
    inside = False
    for part in (part.strip() for part in text.strip('"').split(",")):
        if inside and rules:
            rules[-1] += f",{part}"
            inside = not part.endswith(("):asc", "):desc"))
        else:
            rules.append(part)
            inside = part.startswith("_geoPoint(")
    return rules


SEARCH: Mapping[str, Parse] = {
    "q": str,
    "offset": _whole,
    "limit": _whole,
    "page": _whole,
    "hitsPerPage": _whole,
    "attributesToRetrieve": _list,
    "attributesToCrop": _list,
    "cropLength": _whole,
    "cropMarker": str,
    "attributesToHighlight": _list,
    "highlightPreTag": str,
    "highlightPostTag": str,
    "showMatchesPosition": _flag,
    "filter": _filter,
    "sort": sort_list,
    "distinct": str,
    "facets": _list,
    "matchingStrategy": str,
    "attributesToSearchOn": _list,
    "rankingScoreThreshold": _number,
    "locales": _list,
    "hybridEmbedder": str,
    "hybridSemanticRatio": _number,
    "vector": _numbers,
    "retrieveVectors": _flag,
    "showRankingScore": _flag,
    "showRankingScoreDetails": _flag,
}
_AS_OF_SEARCH = (
    "offset",
    "limit",
    "showRankingScoreDetails",
    "rankingScoreThreshold",
    "attributesToRetrieve",
    "retrieveVectors",
    "filter",
    "showRankingScore",
)
SIMILAR: Mapping[str, Parse] = {
    "id": str,
    "embedder": str,
    **{name: SEARCH[name] for name in _AS_OF_SEARCH},
}
DOCUMENTS: Mapping[str, Parse] = {
    "offset": _whole,
    "limit": _whole,
    "fields": _fields,
    "retrieveVectors": _flag,
    "ids": _list,
    "filter": _filter,
    "sort": sort_list,
}
DOCUMENT: Mapping[str, Parse] = {"fields": _fields, "retrieveVectors": _flag}


def read(parameters: Parameters, known: Mapping[str, Parse]) -> dict[str, Any] | None:
    """The parameters by their types; None when one is not known or cannot be read."""
    found: dict[str, Any] = {}
    for name, text in parameters.items():
        if name not in known:
            return None
        try:
            value = known[name](text)
        except (KeyError, ValueError):
            return None
        if value is not None:
            found[name] = value
    return found


def search_request(parameters: Parameters) -> dict[str, Any] | None:
    """The body of a search that says the same."""
    request = read(parameters, SEARCH)
    if request is None:
        return None
    embedder, ratio = request.pop("hybridEmbedder", None), request.pop("hybridSemanticRatio", None)
    if embedder is None and (ratio is not None or "vector" in request):
        return None
    if embedder is not None:
        request["hybrid"] = {"embedder": embedder} if ratio is None else {"embedder": embedder, "semanticRatio": ratio}
    return request


def similar_request(parameters: Parameters) -> dict[str, Any] | None:
    """The body of a request for similar documents that says the same."""
    request = read(parameters, SIMILAR)
    return None if request is None or not {"id", "embedder"} <= set(request) else request

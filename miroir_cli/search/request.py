"""A client's search request, made ready for the nodes. Pure.

What is not named here is passed on untouched. Requests whose answers this version cannot merge exactly are refused
with a reason; a value that cannot be read is left to a node, which words the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from miroir_cli.errors import ReservedField, UsageError
from miroir_cli.model import RESERVED_PREFIX, Index, Json, ShardId
from miroir_cli.search.facets import FacetRules, facet_rules
from miroir_cli.search.filters import rewrite, shard_filter
from miroir_cli.search.semantics import semantics_of
from miroir_cli.search.view import GEO, View, make_view
from miroir_cli.search.window import GEO_MARGIN, Window, make_window, max_total_hits

GEO_SORT = re.compile(r"^\s*_geoPoint\(")
_ORDERED_RULE = re.compile(r"^(.+):(asc|desc)$")

_NOT_MERGED = {
    "media": "multimodal search",
    "personalize": "personalized search",
    "useNetwork": "Meilisearch's own network search",
}
_NAMES_ATTRIBUTES = (
    "attributesToRetrieve",
    "attributesToHighlight",
    "attributesToCrop",
    "attributesToSearchOn",
    "facets",
    "sort",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request as every node gets it, but for the shards, and what the merge has to know.

    `facets` are those that the client asked for, None without any. `distinct` is the attribute in effect, from the
    request or the settings. `unmergeable`: why answers of several nodes cannot be merged although one node's could.
    """

    original: Json
    body: Mapping[str, Any]
    filters: tuple[Any, ...]
    window: Window
    view: View
    primary_key: str
    facets: FacetRules | None
    distinct: str | None
    counts_values: bool
    """Whether the distinct attribute is among the facets asked of the nodes only to count its values."""
    threshold: bool
    scored: bool
    """Whether scores are shown, or merged by: they are put on one base."""
    semantic: bool
    """Whether hits are ranked by vectors: every document that the filter keeps is one."""
    unmergeable: str | None

    def for_shards(self, shards: Iterable[ShardId]) -> dict[str, Any]:
        """The body for one node that answers for `shards`."""
        return {**self.body, "filter": [*self.filters, shard_filter(shards)]}

    def for_count(self, shards: Iterable[ShardId]) -> dict[str, Any]:
        """A body that only counts all that matches, whatever its score, and how often each distinct value occurs."""
        kept = () if self.semantic else ("q", "matchingStrategy", "attributesToSearchOn", "locales")
        body = {key: self.body[key] for key in kept if key in self.body}
        facets = {"facets": [self.distinct]} if self.distinct else {}
        return {**body, **facets, "limit": 0, "filter": [*self.filters, shard_filter(shards)]}


def prepare(request: Json, index: Index, *, scored: bool = False) -> Prepared | None:
    """Make a request ready; None when a part of it has a wrong type, which a node has to refuse in its own words.

    `scored`: the nodes shall send scores although the client does not ask for them.
    Raises `ReservedField` for names of miroir's own and `UsageError` for what cannot be merged.
    """
    refuse(request)
    if not _well_typed(request):
        return None
    settings = index.settings
    window, semantics = make_window(request, settings), semantics_of(request)
    if window is None or semantics is None:
        return None
    distinct = request.get("distinct") or settings.get("distinctAttribute")
    by_distance = any(GEO_SORT.match(rule) for rule in request.get("sort") or ())
    retrieved = request.get("attributesToRetrieve")
    needed = [index.primary_key, *([distinct] if distinct else []), *([GEO] if by_distance else [])]
    added = [] if retrieved is None or "*" in retrieved else [name for name in needed if name not in retrieved]
    facets, counts_values = _facets(request, settings, distinct, window)
    body = {
        **{key: value for key, value in request.items() if key not in ("offset", "limit", "page", "hitsPerPage")},
        **window.for_nodes(more=GEO_MARGIN if by_distance else 0, at_most=max_total_hits(settings)),
        "showRankingScoreDetails": True,
    }
    if scored:
        body["showRankingScore"] = True
    if added:
        body["attributesToRetrieve"] = [*retrieved, *added]  # type: ignore[misc]
    if facets is not None:
        body["facets"] = facets
    return Prepared(
        original=request,
        body=body,
        filters=tuple(rewrite(request.get("filter"))),
        window=window,
        view=make_view(
            request,
            settings.get("displayedAttributes"),
            added=bool(added),
            hidden_rule=_hidden_rule(request, index),
        ),
        primary_key=index.primary_key,
        facets=facet_rules(settings) if request.get("facets") else None,
        distinct=distinct,
        counts_values=counts_values,
        threshold=request.get("rankingScoreThreshold") is not None,
        scored=scored or bool(request.get("showRankingScore") or request.get("showRankingScoreDetails")),
        semantic=semantics.kind != "keyword",
        unmergeable=_unmergeable(request, index, distinct, window),
    )


def refuse(request: Json) -> None:
    """Raise for what must not reach a node."""
    for key, kind in _NOT_MERGED.items():
        if request.get(key) not in (None, False):
            raise UsageError(
                f"`{key}`: {kind} cannot be merged exactly over several nodes yet",
                hint=f"leave `{key}` out, or ask one node directly",
            )
    for key in _NAMES_ATTRIBUTES:
        names = request.get(key)
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str) and name.startswith(RESERVED_PREFIX):
                raise ReservedField(f"`{key}` names `{name}`: attributes that begin with `_miroir_` are miroir's own")
    distinct = request.get("distinct")
    if isinstance(distinct, str) and distinct.startswith(RESERVED_PREFIX):
        raise ReservedField(f"`distinct` names `{distinct}`: attributes that begin with `_miroir_` are miroir's own")


def _well_typed(request: Json) -> bool:
    """Whether every part that is read here has the type that Meilisearch wants."""
    for key in _NAMES_ATTRIBUTES:
        names = request.get(key)
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            return False
    if not isinstance(request.get("distinct"), str | None):
        return False
    flags = ("showRankingScore", "showRankingScoreDetails", "retrieveVectors")
    return all(isinstance(request.get(key, False), bool) for key in flags)


def _hidden_rule(request: Json, index: Index) -> str | None:
    """The key of miroir's own last ranking rule in the details; None where the field is ranked by anyway.

    Meilisearch ranks by a field once: an earlier rule or sort on the primary key takes the place of the last rule.
    """
    key = index.primary_key
    rules = index.settings.get("rankingRules")
    own = [match.group(1) for rule in rules or () if (match := _ORDERED_RULE.match(rule))]
    asked = [rule.rpartition(":")[0] for rule in request.get("sort") or ()]
    return None if not index.tie_break or key in own or key in asked else f"{key}:asc"


def _facets(request: Json, settings: Json, distinct: str | None, window: Window) -> tuple[list[str] | None, bool]:
    """The facets to ask of the nodes, and whether the distinct attribute was added to count its values."""
    facets = request.get("facets")
    if not distinct or not window.pages or not (request.get("distinct") or _filterable(distinct, settings)):
        return facets, False
    return [*(facets or ()), distinct], True


def _unmergeable(request: Json, index: Index, distinct: str | None, window: Window) -> str | None:
    if distinct and request.get("facets"):
        return f"`facets` with `distinct` (`{distinct}`) count one document per value, chosen by each node alone"
    if distinct and request.get("rankingScoreThreshold") is not None:
        return f"`rankingScoreThreshold` together with `distinct` (`{distinct}`)"
    if distinct and window.pages and not request.get("distinct") and not _filterable(distinct, index.settings):
        return (
            f"`page` and `hitsPerPage` count exactly, which with `distinct` (`{distinct}`) needs the attribute "
            "in `filterableAttributes`"
        )
    displayed = index.settings.get("displayedAttributes")
    shown = displayed is None or "*" in displayed or distinct in displayed
    if distinct and not shown and distinct != index.settings.get("distinctAttribute"):
        return f"`distinct` by `{distinct}` needs the attribute in `displayedAttributes`"
    return None


def _filterable(name: str, settings: Json) -> bool:
    for rule in settings.get("filterableAttributes") or ():
        patterns = [rule] if isinstance(rule, str) else rule.get("attributePatterns") or ()
        if any(pattern == "*" or name == pattern or name.startswith(f"{pattern}.") for pattern in patterns):
            return True
    return False

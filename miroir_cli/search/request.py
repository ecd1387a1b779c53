"""A client's search request, made ready for the nodes. Pure.

What is not named here is passed on untouched. What this version cannot merge exactly is refused with a reason; a value
that cannot be read is left to a node, which words the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miroir_cli.documents.route import shard_of
from miroir_cli.errors import ReservedField, UsageError
from miroir_cli.indexes.settings import node_max_values, widened
from miroir_cli.model import ABSENT_FIELD, RESERVED_PREFIX, Index, Json, ShardId, shard_filter
from miroir_cli.search.distinct import Distinct
from miroir_cli.search.facets import FacetRules, facet_rules
from miroir_cli.search.filters import rewrite
from miroir_cli.search.narrow import narrowed
from miroir_cli.search.semantics import semantics_of
from miroir_cli.search.view import GEO, View, field_order, make_view
from miroir_cli.search.window import GEO_MARGIN, Window, make_window

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
_AT_ONCE = 1000
_WORDS = ("q", "matchingStrategy", "attributesToSearchOn", "locales")
_NOT_OF_EVERY = ("facets", "page", "hitsPerPage", "distinct", "filter")
_PRESENTATION = ("attributesToHighlight", "attributesToCrop", "showMatchesPosition", "retrieveVectors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request as every node gets it, but for the shards, and what the merge has to know.

    `facets` are the rules for those that the client asked for, None without any.
    """

    original: Json
    body: Mapping[str, Any]
    filters: tuple[Any, ...]
    window: Window
    view: View
    primary_key: str
    facets: FacetRules | None
    distinct: Distinct | None
    threshold: bool
    by_distance: bool
    """Whether the request sorts by distance, so that the nodes are asked for hits beyond the window."""
    shards: tuple[ShardId, ...] | None
    """The only shards that may have matching documents; None for all."""
    listed: int
    """How many values of a facet a node lists."""
    scored: bool
    """Whether scores are shown, or merged by: they are put on one base."""
    semantic: bool
    """Whether hits are ranked by vectors: every document that the filter keeps is one."""

    def for_shards(self, shards: Iterable[ShardId], more: int = GEO_MARGIN, share: float = 1.0) -> dict[str, Any]:
        """The body for one node that answers for `shards`; `more` hits beyond the window where they may matter.

        `share`: only as many hits as are likely to be among the first with so many of the documents.
        """
        return {**self.body, **self.pagination(more, share), "filter": [*self.filters, shard_filter(shards)]}

    def pagination(self, more: int = GEO_MARGIN, share: float = 1.0) -> dict[str, int]:
        """The part of the body that says how many hits."""
        return self.window.for_nodes(more=more if self.by_distance else 0, share=share)

    @property
    def first_hits_alone_decide(self) -> bool:
        """Whether hits behind the first ones of a node change nothing about these: no score on a common base, no
        distinct value, no distance, no count of what reaches a threshold."""
        return not (self.scored or self.semantic or self.threshold or self.by_distance or self.distinct)

    def for_count(
        self,
        shards: Iterable[ShardId],
        *,
        facets: Sequence[str] | None = None,
        only: str = "",
        above: bool | None = None,
    ) -> dict[str, Any]:
        """A body that only counts what matches, and `facets` (default: the client's) of it, each document for itself.

        `above`: only what reaches the threshold, by default where one node looks at every document. `only` is one more
        filter.
        """
        scored = self.threshold and (self.window.pages if above is None else above)
        body = self._each_document(self._finds(scored))
        counted = self.original.get("facets") if facets is None else facets
        if counted:
            body["facets"] = counted
        if scored:
            body |= {"rankingScoreThreshold": self.original["rankingScoreThreshold"], "page": 1, "hitsPerPage": 0}
            if self.semantic and self.window.needed:  # a node ranks as many at once as it is asked for, or none
                body |= {"hitsPerPage": _AT_ONCE, "attributesToRetrieve": []}
        else:
            body["limit"] = 1 if self.semantic and "q" in body else 0  # for none it would not look at vectors
        body["filter"] = [*self.filters, *([only] if only else []), shard_filter(shards)]
        return body

    def _finds(self, scored: bool) -> tuple[str, ...]:
        """The parts of the body that decide, with the filter, what is found; `scored`: and what reaches the threshold.

        Besides vectors words find nothing, but those that must not be in a document exclude it.
        """
        if not self.semantic:
            return _WORDS
        excluding = "-" in (self.body.get("q") or "") and self.body["hybrid"].get("semanticRatio") != 1
        return ("vector", "hybrid", *(_WORDS if excluding else ())) if scored or excluding else ()

    def for_every(
        self, shards: Iterable[ShardId], *, most: int, keys_only: bool = False, threshold: bool = True, only: str = ""
    ) -> dict[str, Any]:
        """A body for the best `most` documents, none left out because of its distinct value.

        `keys_only`: with no more of each than its rank and its primary key. `only` is one more filter.
        """
        kept = [key for key in self.body if key not in _NOT_OF_EVERY and (threshold or key != "rankingScoreThreshold")]
        body = self._each_document([key for key in kept if not (keys_only and key in _PRESENTATION)])
        if keys_only:
            body["attributesToRetrieve"] = [self.primary_key, GEO]
        filters = [*self.filters, *([only] if only else []), shard_filter(shards)]
        return {**body, "offset": 0, "limit": most, "filter": filters}

    def _each_document(self, keys: Iterable[str]) -> dict[str, Any]:
        body = {key: self.body[key] for key in keys if key in self.body}
        return {**body, "distinct": ABSENT_FIELD} if self.distinct and self.distinct.by_default else body


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
    distinct = _distinct(request, index)
    by_distance = any(GEO_SORT.match(rule) for rule in request.get("sort") or ())
    retrieved = request.get("attributesToRetrieve")
    needed = [index.primary_key, *([distinct.attribute] if distinct else []), *([GEO] if by_distance else [])]
    added = [] if retrieved is None or "*" in retrieved else [name for name in needed if name not in retrieved]
    filters = tuple(rewrite(request.get("filter")))
    body = {
        **{key: value for key, value in request.items() if key not in ("offset", "limit", "page", "hitsPerPage")},
        "showRankingScoreDetails": True,
    }
    if scored:
        body["showRankingScore"] = True
    if added:
        body["attributesToRetrieve"] = [*retrieved, *added]  # type: ignore[misc]
    return Prepared(
        original=request,
        body=body,
        filters=filters,
        window=window,
        view=make_view(
            request,
            settings.get("displayedAttributes"),
            added=bool(added),
            hidden_rule=_hidden_rule(request, index),
            order=field_order(settings, index.primary_key),
        ),
        primary_key=index.primary_key,
        facets=facet_rules(settings) if request.get("facets") else None,
        distinct=distinct,
        threshold=request.get("rankingScoreThreshold") is not None,
        by_distance=by_distance,
        shards=_narrowed(request, filters, index),
        listed=node_max_values(settings),
        scored=scored or bool(request.get("showRankingScore") or request.get("showRankingScoreDetails")),
        semantic=semantics.kind != "keyword",
    )


def _narrowed(request: Json, filters: Sequence[Any], index: Index) -> tuple[ShardId, ...] | None:
    """The shards that the filter leaves. Which fields there are is for all nodes to say: those that facets list, those
    that may be searched on, and whether there are vectors."""
    if any(request.get(key) for key in ("facets", "attributesToSearchOn", "retrieveVectors")):
        return None
    return narrowed(filters, index.primary_key, lambda key: shard_of(key, index.shards))


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


def _distinct(request: Json, index: Index) -> Distinct | None:
    settings = index.settings
    by_default = settings.get("distinctAttribute")
    attribute = request.get("distinct") or by_default
    if not attribute:
        return None
    displayed = settings.get("displayedAttributes")
    return Distinct(
        attribute=attribute,
        asked=bool(request.get("distinct")),
        filterable=filtered_by_equality(attribute, settings),
        by_default=by_default is not None,
        visible=displayed is None
        or "*" in displayed
        or attribute in (*displayed, *widened(settings, primary_key=index.primary_key)),
    )


def filtered_by_equality(name: str, settings: Json) -> bool:
    """Whether the first rule of `filterableAttributes` that matches a name lets nodes filter by equality."""
    for rule in settings.get("filterableAttributes") or ():
        if isinstance(rule, str):
            if rule == "*" or name == rule or name.startswith(f"{rule}."):
                return True
        elif any(_matches(pattern, name) for pattern in rule.get("attributePatterns") or ()):
            operators = (rule.get("features") or {}).get("filter") or {}
            return operators.get("equality") is not False
    return False


def _matches(pattern: str, name: str) -> bool:
    """A pattern may begin or end with `*`."""
    inner = pattern.strip("*")
    before, after = pattern.startswith("*"), pattern.endswith("*")
    if before and after:
        return inner in name
    if before or after:
        return name.endswith(inner) if before else name.startswith(inner)
    return pattern == name

"""Under which of the named differences a request falls: what in its answer may not be as on one node. Pure.

The names are those of the tables of `docs/concepts/exactness.md`. Only what the request itself shows is told; the words
of a query can meet the limits of typos, prefixes and split words whatever it asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.search.facets import facet_rules
from miroir_cli.search.rules import is_relevancy
from miroir_cli.search.semantics import semantics_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miroir_cli.model import Json
    from miroir_cli.search.request import Prepared


def caveats(prepared: Prepared, settings: Json) -> tuple[str, ...]:
    """The names of the differences, in the order of the page. Answers of a single node have none of them."""
    request = prepared.original
    has_words = bool(str(request.get("q") or "").strip())
    asked = semantics_of(request)
    by_vector = asked is not None and asked.kind != "keyword"
    found: list[str] = []
    if has_words and (request.get("showRankingScore") or request.get("showRankingScoreDetails")):
        found.append("`_rankingScore`")
    if prepared.threshold and has_words:
        found.append("`rankingScoreThreshold`")
    if has_words and request.get("matchingStrategy") == "frequency":
        found.append("`matchingStrategy: frequency`")
    marks = ("attributesToHighlight", "attributesToCrop", "showMatchesPosition")
    if has_words and any(request.get(key) for key in marks):
        found.append("highlighting")
    facets = request.get("facets") or ()
    if facets:
        found.append("spelling of a facet value")
    if _by_count(facets, settings):
        found.append("facet values of equal counts")
    if facets:
        found.append("a number and its text in one facet")
    distinct = prepared.distinct
    if distinct and not distinct.asked and not distinct.filterable and not prepared.window.pages:
        found.append("`estimatedTotalHits` with a `distinctAttribute` that is not filterable")
    if prepared.threshold and (has_words or by_vector) and _sorts_before_relevancy(settings, bool(request.get("sort"))):
        found.append("`estimatedTotalHits` and facets with `rankingScoreThreshold` and a sort before a relevancy rule")
    if by_vector:
        found.append("hits whose vectors are equally near, more of them than fit")
        found.append("hits that are shown equally near and are not quite")
    counted = prepared.window.counts_everything and not distinct
    if asked is not None and asked.kind == "hybrid" and prepared.threshold and not counted:
        found.append("`estimatedTotalHits` of a hybrid search with `rankingScoreThreshold`")
    if request.get("retrieveVectors") and prepared.view.displayed is not None:
        found.append("`retrieveVectors` with listed `displayedAttributes`")
    return tuple(found)


def _by_count(facets: Sequence[str], settings: Json) -> bool:
    rules = facet_rules(settings)
    return any(rules.order(name) == "count" for name in facets)


def _sorts_before_relevancy(settings: Json, sorted_by_request: bool) -> bool:
    rules = settings.get("rankingRules")
    if rules is None:
        return sorted_by_request  # the default rules have `sort` before `wordPosition` and `exactness`
    sorts = (place for place, rule in enumerate(rules) if ":" in rule or (rule == "sort" and sorted_by_request))
    return any(map(is_relevancy, rules[next(sorts, len(rules)) :]))

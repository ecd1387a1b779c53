"""Settings as tasks show them: a client's own, in Meilisearch's spelling, without secrets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from miroir_cli.indexes.settings import rule_in_full
from miroir_cli.tasks.view import masked

if TYPE_CHECKING:
    from miroir_cli.model import Json

ORDER = (
    "displayedAttributes",
    "searchableAttributes",
    "filterableAttributes",
    "sortableAttributes",
    "foreignKeys",
    "rankingRules",
    "stopWords",
    "nonSeparatorTokens",
    "separatorTokens",
    "dictionary",
    "synonyms",
    "distinctAttribute",
    "proximityPrecision",
    "typoTolerance",
    "faceting",
    "pagination",
    "embedders",
    "searchCutoffMs",
    "localizedAttributes",
    "facetSearch",
    "prefixSearch",
    "chat",
)
"""All settings in the order in which Meilisearch shows them."""

_EVERYTHING = ("displayedAttributes", "searchableAttributes")
_SETS = ("sortableAttributes", "stopWords", "nonSeparatorTokens", "separatorTokens", "dictionary")
_TYPO_SETS = ("disableOnWords", "disableOnAttributes")


def details_of(patch: Json) -> dict[str, Any]:
    """The details of a task that changes these settings."""
    return {name: _shown(name, patch[name]) for name in ORDER if name in patch}


def all_reset() -> dict[str, Any]:
    """The details of a task that resets everything."""
    return details_of(dict.fromkeys(ORDER))


def _shown(name: str, value: Any) -> Any:
    if value is None:
        return ["*"] if name in _EVERYTHING else None
    if name in _SETS:
        return sorted(set(value))
    if name == "filterableAttributes":
        return [rule_in_full(rule) for rule in value]
    if name == "synonyms":
        return dict(sorted(value.items()))
    if name == "typoTolerance":
        return {key: sorted(set(inner)) if key in _TYPO_SETS and inner else inner for key, inner in value.items()}
    if name == "embedders":
        return {key: _without_secret(parts) for key, parts in sorted(value.items())}
    return value


def _without_secret(embedder: Any) -> Any:
    if not isinstance(embedder, Mapping) or not isinstance(embedder.get("apiKey"), str):
        return embedder
    return {**embedder, "apiKey": masked(embedder["apiKey"])}

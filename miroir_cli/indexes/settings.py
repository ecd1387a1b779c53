"""Index settings: what the user wrote, what the nodes get on top of it, and back again. Pure.

On the nodes an index has things that a user never sees: the shard marker among the filterable attributes, the primary
key as the last ranking rule (one order of equal hits on every replica), and raised `maxValuesPerFacet` and
`maxTotalHits` (the merge cuts to the user's values). Where the user restricts the displayed attributes, those that the
merge must read (primary key, sort values, `_geo`) are displayed on the nodes as well and cut from every answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from miroir_cli.errors import ReservedField, SettingsInvalid, nearest
from miroir_cli.model import ABSENT_FIELD, RESERVED_PREFIX, SHARD_DIGITS, SHARD_FIELD, Json

NODE_MAX_VALUES_PER_FACET = 1_000_000
"""What the nodes are told where every value may matter, so that none is cut before the merge."""

NODE_FIRST_VALUES = 1000
"""What they are told where the first values are enough: a node takes longer the more it lists."""

NODE_MAX_TOTAL_HITS = 1_000_000
"""What the nodes are told: the merge may need more hits of a node than a client can ask for."""

DEFAULT_MAX_VALUES_PER_FACET = 100
DEFAULT_MAX_TOTAL_HITS = 1000

SHARD_FILTER: Json = {
    "attributePatterns": [SHARD_FIELD, ABSENT_FIELD],
    "features": {"facetSearch": False, "filter": {"equality": True, "comparison": False}},
}


class _Words(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    one_typo: int | None = None
    two_typos: int | None = None


class _TypoTolerance(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    enabled: bool | None = None
    min_word_size_for_typos: _Words | None = None
    disable_on_words: list[str] | None = None
    disable_on_attributes: list[str] | None = None
    disable_on_numbers: bool | None = None


class _Faceting(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    max_values_per_facet: int | None = None
    sort_facet_values_by: dict[str, Literal["alpha", "count"]] | None = None


class _Pagination(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    max_total_hits: int | None = None


class _Comparison(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    equality: bool | None = None
    comparison: bool | None = None


class _Features(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    facet_search: bool | None = None
    filter: _Comparison | None = None


class _FilterRule(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    attribute_patterns: list[str]
    features: _Features | None = None


class _Settings(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    displayed_attributes: list[str] | None = None
    searchable_attributes: list[str] | None = None
    filterable_attributes: list[str | _FilterRule] | None = None
    sortable_attributes: list[str] | None = None
    ranking_rules: list[str] | None = None
    stop_words: list[str] | None = None
    non_separator_tokens: list[str] | None = None
    separator_tokens: list[str] | None = None
    dictionary: list[str] | None = None
    synonyms: dict[str, list[str]] | None = None
    distinct_attribute: str | None = None
    proximity_precision: Literal["byWord", "byAttribute"] | None = None
    typo_tolerance: _TypoTolerance | None = None
    faceting: _Faceting | None = None
    pagination: _Pagination | None = None
    embedders: dict[str, Any] | None = None
    search_cutoff_ms: int | None = None
    localized_attributes: list[Any] | None = None
    facet_search: bool | None = None
    prefix_search: Literal["indexingTime", "disabled"] | None = None


KEYS: tuple[str, ...] = tuple(field.encode_name for field in msgspec.structs.fields(_Settings))

_PARTLY = ("typoTolerance", "minWordSizeForTypos", "faceting", "pagination")
"""Settings of which a patch changes only the keys that it names."""

_KEPT_BY_ANOTHER_SOURCE = ("apiKey", "distribution", "binaryQuantized")
"""The parts of an embedder that stay when its source changes; all others are then those of the new source."""

_ORDERED_RULE = re.compile(r"^(?P<field>.+):(?P<direction>asc|desc)$")
_BUILT_IN_RULES = (
    "words",
    "typo",
    "proximity",
    "attribute",
    "attributeRank",
    "wordPosition",
    "sort",
    "exactness",
)


def validate(settings: object, *, source: str) -> dict[str, Any]:
    """The settings as a dict once they are known to be well formed.

    Raises `SettingsInvalid` naming the key (and the likely one), `ReservedField` for a name of miroir's own.
    """
    try:
        msgspec.convert(settings, _Settings)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(f"{source}: {_explain(str(error))}", hint="see `docs/reference/settings.md`") from error
    assert isinstance(settings, dict)
    _refuse_reserved(settings, source)
    for rule in settings.get("rankingRules") or ():
        if rule not in _BUILT_IN_RULES and not _ORDERED_RULE.match(rule):
            raise SettingsInvalid(
                f"{source}: `rankingRules`: `{rule}` is neither a built-in rule nor `ATTRIBUTE:asc` or `:desc`",
                hint=_near(rule, _BUILT_IN_RULES),
            )
    for key in ("nonSeparatorTokens", "dictionary"):
        for token in settings.get(key) or ():
            if any(digit in token for digit in SHARD_DIGITS):
                raise SettingsInvalid(
                    f"{source}: `{key}`: {token!r} uses one of `{SHARD_DIGITS}`, in which miroir writes shard numbers",
                    hint="leave that token out",
                )
    return settings


def _explain(message: str) -> str:
    """msgspec's message with the path in front and the likely key behind."""
    text, _, path = message.partition(" - at ")
    where = path.strip("`").removeprefix("$").removeprefix(".")
    unknown = re.match(r"Object contains unknown field `(.+)`", text)
    if not unknown:
        return f"`{where}`: {text}" if where else text
    key = unknown.group(1)
    near = nearest(key, _all_keys(), alike=0.6)
    suffix = f", did you mean `{near}`?" if near else ""
    return f"unknown setting `{where + '.' if where else ''}{key}`{suffix}"


def _all_keys() -> list[str]:
    kinds = (_Settings, _TypoTolerance, _Words, _Faceting, _Pagination, _FilterRule, _Features, _Comparison)
    return [field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)]


def _near(word: str, words: Sequence[str]) -> str | None:
    near = nearest(word, words, alike=0.6)
    return f"did you mean `{near}`?" if near else None


def _refuse_reserved(value: object, source: str) -> None:
    if isinstance(value, str):
        if RESERVED_PREFIX in value:
            raise ReservedField(f"{source}: `{value}`: names with `{RESERVED_PREFIX}` are miroir's own")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_reserved(key, source)
            _refuse_reserved(inner, source)
    elif isinstance(value, list):
        for inner in value:
            _refuse_reserved(inner, source)


def merge(current: Json, patch: Json) -> dict[str, Any]:
    """The user's settings after a patch: null resets a key, the composite ones change key by key."""
    merged = dict(current)
    for key, value in patch.items():
        before = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif key == "embedders" and isinstance(value, Mapping):
            merged[key] = _merge_embedders(before or {}, value)
        elif key in _PARTLY and isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = merge(before, value)
        else:
            merged[key] = value
    return merged


def _merge_embedders(current: Json, patch: Json) -> dict[str, Any]:
    """Embedders after a patch: they change one by one, and each part by part unless it gets another source."""
    merged = dict(current)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            before = merged.get(name) or {}
            if _source(value, before) != _source(before):
                before = {part: before[part] for part in _KEPT_BY_ANOTHER_SOURCE if part in before}
            merged[name] = {part: inner for part, inner in {**before, **value}.items() if inner is not None}
        else:
            merged[name] = value
    return merged


def _source(embedder: Json, before: Json | None = None) -> Any:
    found = embedder.get("source", (before or {}).get("source"))
    return "openAi" if found is None else found


def with_removals(settings: Json, *, before: Json, present: Iterable[str]) -> dict[str, Any]:
    """A node's settings with null for the embedders that are gone, and for the parts of others that are: a patch
    leaves alone what it does not name.

    `before`: the user's settings until now; `present`: names of embedders that nodes have.
    """
    embedders = dict(settings.get("embedders") or {})
    if not embedders:
        return {**settings, "embedders": None}
    for name, parts in (before.get("embedders") or {}).items():
        kept = embedders.setdefault(name, None)
        if isinstance(kept, Mapping) and isinstance(parts, Mapping) and _source(kept) == _source(parts):
            embedders[name] = {**dict.fromkeys(parts), **kept}
    return {**settings, "embedders": {**dict.fromkeys(present), **embedders}}


def to_node(user: Json, *, primary_key: str, tie_break: bool, default_rules: Sequence[str]) -> dict[str, Any]:
    """The complete settings that a node gets for the user's; keys and parts the user left alone are null (default)."""
    node: dict[str, Any] = {key: user.get(key) for key in KEYS}
    node["embedders"] = user.get("embedders") or None
    node["filterableAttributes"] = [SHARD_FILTER, *map(rule_in_full, user.get("filterableAttributes") or [])]
    rules = list(default_rules if user.get("rankingRules") is None else user["rankingRules"])
    if tie_break and primary_key and not any(_orders_by(rule, primary_key) for rule in rules):
        rules.append(f"{primary_key}:asc")
    node["rankingRules"] = rules
    for key, kind in _IN_PARTS.items():
        if user.get(key) is not None:
            node[key] = _in_full(kind, user[key])
    node["faceting"] = {
        **_in_full(_Faceting, user.get("faceting") or {}),
        "maxValuesPerFacet": node_max_values(user),
    }
    node["pagination"] = {"maxTotalHits": NODE_MAX_TOTAL_HITS}
    displayed = user.get("displayedAttributes")
    if displayed is not None and "*" not in displayed:
        node["displayedAttributes"] = [*displayed, *widened(user, primary_key=primary_key)]
    return node


def node_max_values(user: Json) -> int:
    """The `maxValuesPerFacet` of the nodes.

    The first values in alphabetical order are among the first of each node. The most frequent ones need not be, and
    the values of a distinct attribute are counted.
    """
    faceting = user.get("faceting") or {}
    if user.get("distinctAttribute") or "count" in (faceting.get("sortFacetValuesBy") or {}).values():
        return NODE_MAX_VALUES_PER_FACET
    most = faceting.get("maxValuesPerFacet")
    return max(NODE_FIRST_VALUES, DEFAULT_MAX_VALUES_PER_FACET if most is None else most)


def rule_in_full(rule: Any) -> Any:
    """A filterable attribute as a node shows it: a rule with all its features."""
    if not isinstance(rule, Mapping):
        return rule
    features = rule.get("features") or {}
    operators = features.get("filter") or {}
    chosen = {
        "equality": True if operators.get("equality") is None else operators["equality"],
        "comparison": operators.get("comparison") or False,
    }
    return {**rule, "features": {"facetSearch": features.get("facetSearch") or False, "filter": chosen}}


_IN_PARTS: dict[str, Any] = {"typoTolerance": _TypoTolerance, "minWordSizeForTypos": _Words, "pagination": _Pagination}
"""Settings that a node patches part by part: one that is left out stays as it was, only null resets it."""


def _in_full(kind: Any, given: Json) -> dict[str, Any]:
    """A composite setting with all its parts, those that were left alone as null."""
    whole: dict[str, Any] = {field.encode_name: None for field in msgspec.structs.fields(kind)}
    for key, value in given.items():
        whole[key] = _in_full(_IN_PARTS[key], value) if key in _IN_PARTS and isinstance(value, Mapping) else value
    return whole


def widened(user: Json, *, primary_key: str) -> list[str]:
    """Attributes displayed on the nodes although the user's `displayedAttributes` do not name them.

    A parent's name is not enough: Meilisearch hides the sort values of `meta.price` where only `meta` is displayed.
    """
    displayed = user.get("displayedAttributes")
    if displayed is None or "*" in displayed:
        return []
    ordered = [match.group("field") for rule in user.get("rankingRules") or () if (match := _ORDERED_RULE.match(rule))]
    distinct = user.get("distinctAttribute")
    needed = [
        *([primary_key] if primary_key else ()),
        *(user.get("sortableAttributes") or ()),
        *ordered,
        *([distinct] if distinct else ()),
        "_geo",
    ]
    return [name for name in dict.fromkeys(needed) if name not in displayed]


def _orders_by(rule: str, field: str) -> bool:
    match = _ORDERED_RULE.match(rule)
    return match is not None and match.group("field") == field


def from_node(found: Json, user: Json, *, primary_key: str, tie_break: bool) -> dict[str, Any]:
    """A node's settings as one Meilisearch would show the user's."""
    shown = {key: value for key, value in found.items() if key in KEYS or RESERVED_PREFIX not in str(value)}
    shown["filterableAttributes"] = [rule_in_full(rule) for rule in user.get("filterableAttributes") or ()]
    rules = list(found.get("rankingRules") or [])
    if tie_break and rules and rules[-1] == f"{primary_key}:asc":
        given = user.get("rankingRules")
        rules = list(given) if given is not None else rules[:-1]
    shown["rankingRules"] = rules
    faceting = dict(found.get("faceting") or {})
    limit = (user.get("faceting") or {}).get("maxValuesPerFacet")
    faceting["maxValuesPerFacet"] = DEFAULT_MAX_VALUES_PER_FACET if limit is None else limit
    shown["faceting"] = faceting
    most = (user.get("pagination") or {}).get("maxTotalHits")
    shown["pagination"] = {"maxTotalHits": DEFAULT_MAX_TOTAL_HITS if most is None else most}
    shown["displayedAttributes"] = user.get("displayedAttributes") or ["*"]
    return shown

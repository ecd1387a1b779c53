"""Index settings: defaults, validation, and what they mean for one field."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .attributes import is_listed, is_under, matches_pattern
from .embedders import checked_embedders, merged_embedders
from .errors import EngineError, not_supported
from .query import folded_synonyms
from .text import Tokenizer, normalize_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .query import Phrase

RANKING_RULES = ("words", "typo", "proximity", "attributeRank", "sort", "wordPosition", "exactness")
_KNOWN_RULES = {*RANKING_RULES, "attribute"}
DEFAULTS: dict[str, Any] = {
    "displayedAttributes": ["*"],
    "searchableAttributes": ["*"],
    "filterableAttributes": [],
    "sortableAttributes": [],
    "rankingRules": list(RANKING_RULES),
    "stopWords": [],
    "nonSeparatorTokens": [],
    "separatorTokens": [],
    "dictionary": [],
    "synonyms": {},
    "distinctAttribute": None,
    "proximityPrecision": "byWord",
    "typoTolerance": {
        "enabled": True,
        "minWordSizeForTypos": {"oneTypo": 5, "twoTypos": 9},
        "disableOnWords": [],
        "disableOnAttributes": [],
        "disableOnNumbers": False,
    },
    "faceting": {"maxValuesPerFacet": 100, "sortFacetValuesBy": {"*": "alpha"}},
    "pagination": {"maxTotalHits": 1000},
    "embedders": {},
    "searchCutoffMs": None,
    "localizedAttributes": None,
    "facetSearch": True,
    "prefixSearch": "indexingTime",
}
_UNSUPPORTED = {"localizedAttributes", "foreignKeys", "chat"}
_SORTED_LISTS = {"stopWords", "nonSeparatorTokens", "separatorTokens", "dictionary", "sortableAttributes"}


@dataclass(frozen=True, slots=True)
class Features:
    """What a filterable attribute may be used for, and the rule that says so."""

    facet_search: bool
    equality: bool
    comparison: bool
    rule: int

    @property
    def filterable(self) -> bool:
        """Tell whether any filter may name the attribute."""
        return self.equality or self.comparison


def error_code(name: str) -> str:
    """Return the error code of one setting: `rankingRules` -> `invalid_settings_ranking_rules`."""
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return f"invalid_settings_{snake}"


def validated(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Check a settings object and return it as tasks show it; raise `EngineError` naming the setting."""
    result: dict[str, Any] = {}
    for name, value in changes.items():
        if name in _UNSUPPORTED:
            emptied = isinstance(value, dict) and not any(value.values())
            if value not in (None, []) and not emptied:
                raise not_supported(f"The setting `{name}`")
            result[name] = value
            continue
        if name not in DEFAULTS:
            known = ", ".join(f"`{key}`" for key in DEFAULTS)
            raise EngineError("bad_request", f"Unknown field `{name}`: expected one of {known}")
        if value is not None:
            value = _CHECKS[name](name, value)
        elif name in ("displayedAttributes", "searchableAttributes"):
            value = ["*"]
        result[name] = value
    return result


def merged(current: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Apply validated changes: null resets, nested objects merge key by key."""
    result = dict(current)
    for name, value in changes.items():
        if value is None or name in _UNSUPPORTED:
            result.pop(name, None)
        elif name in ("displayedAttributes", "searchableAttributes"):
            result[name] = ["*"] if "*" in value else list(dict.fromkeys(value))
        elif name == "embedders":
            result[name] = merged_embedders(result.get(name) or {}, value)
        elif name in ("typoTolerance", "faceting", "pagination"):
            base = result.get(name, DEFAULTS[name])
            result[name] = _merged_object(base, value, DEFAULTS[name], name)
        else:
            result[name] = value
    return result


def _merged_object(
    base: Mapping[str, Any], changes: Mapping[str, Any], defaults: Mapping[str, Any], name: str
) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result[key] = defaults[key]
        elif key == "minWordSizeForTypos":
            result[key] = _merged_object(result[key], value, defaults[key], key)
        elif key == "sortFacetValuesBy":
            result[key] = {**defaults[key], **value}
        else:
            result[key] = value
    sizes: dict[str, int] | None = result.get("minWordSizeForTypos")
    if name == "typoTolerance" and sizes and sizes["oneTypo"] > sizes["twoTypos"]:
        message = "`minWordSizeForTypos` setting is invalid: `twoTypos` must be at least `oneTypo`."
        raise EngineError("invalid_settings_typo_tolerance", message)
    return result


def _fail(name: str, message: str) -> EngineError:
    return EngineError(error_code(name), f"Invalid value at `.{name}`: {message}")


def _strings(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _fail(name, "expected an array of strings")
    if name in _SORTED_LISTS:
        return sorted(set(value))
    return value


def _ranking_rules(name: str, value: Any) -> list[str]:
    rules = _strings(name, value)
    for rule in rules:
        field, _, direction = rule.rpartition(":")
        if rule in _KNOWN_RULES or (field and direction in ("asc", "desc") and not field.startswith("_geo")):
            continue
        raise _fail(name, f"`{rule}` ranking rule is invalid.")
    if "attribute" in rules and {"attributeRank", "wordPosition"} & set(rules):
        raise _fail(name, "`attribute` cannot be used with `attributeRank` or `wordPosition`")
    return rules


def _filterable(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _fail(name, "expected an array")
    result: list[Any] = []
    for item in value:
        if isinstance(item, str):
            result.append(item)
            continue
        if not isinstance(item, dict) or not _are_strings(item.get("attributePatterns")):
            raise _fail(name, "expected strings or objects with `attributePatterns`")
        if set(item) - {"attributePatterns", "features"}:
            raise _fail(name, "unknown field in a rule")
        features = item.get("features") or {}
        operators = features.get("filter") or {}
        chosen = {
            "facetSearch": features.get("facetSearch", False),
            "filter": {
                "equality": operators.get("equality", True),
                "comparison": operators.get("comparison", False),
            },
        }
        result.append({"attributePatterns": item["attributePatterns"], "features": chosen})
    return result


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _synonyms(name: str, value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict) or not all(_are_strings(item) for item in value.values()):
        raise _fail(name, "expected an object of arrays of strings")
    return dict(sorted(value.items()))


def _kind(kind: type, what: str) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        negative = isinstance(value, int) and (isinstance(value, bool) or value < 0) and kind is int
        if not isinstance(value, kind) or negative:
            raise _fail(name, f"expected {what}")
        return value

    return check


def _one_of(*choices: str) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if value not in choices:
            raise _fail(name, f"expected one of {', '.join(choices)}")
        return value

    return check


def _object(checks: Mapping[str, Callable[[str, Any], Any]]) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _fail(name, "expected an object")
        if unknown := set(value) - set(checks):
            raise _fail(name, f"unknown field `{min(unknown)}`")
        result = {}
        for key, item in value.items():
            try:
                result[key] = None if item is None else checks[key](key, item)
            except EngineError as error:
                raise EngineError(error_code(name), error.message) from None
        return result

    return check


def _facet_orders(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or any(item not in ("alpha", "count") for item in value.values()):
        raise _fail(name, "expected `alpha` or `count` for each field")
    return value


_flag = _kind(bool, "a boolean")
_number = _kind(int, "a positive integer")


def _word_size(name: str, value: Any) -> int:
    if _number(name, value) > 255:
        raise _fail(name, "expected an integer up to 255")
    size: int = value
    return size


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "displayedAttributes": _strings,
    "searchableAttributes": _strings,
    "filterableAttributes": _filterable,
    "sortableAttributes": _strings,
    "rankingRules": _ranking_rules,
    "stopWords": _strings,
    "nonSeparatorTokens": _strings,
    "separatorTokens": _strings,
    "dictionary": _strings,
    "synonyms": _synonyms,
    "distinctAttribute": _kind(str, "a string"),
    "proximityPrecision": _one_of("byWord", "byAttribute"),
    "typoTolerance": _object(
        {
            "enabled": _flag,
            "minWordSizeForTypos": _object({"oneTypo": _word_size, "twoTypos": _word_size}),
            "disableOnWords": _strings,
            "disableOnAttributes": _strings,
            "disableOnNumbers": _flag,
        }
    ),
    "faceting": _object({"maxValuesPerFacet": _number, "sortFacetValuesBy": _facet_orders}),
    "pagination": _object({"maxTotalHits": _number}),
    "embedders": checked_embedders,
    "searchCutoffMs": _number,
    "facetSearch": _flag,
    "prefixSearch": _one_of("indexingTime", "disabled"),
}


class Settings:
    """One index's settings, read-only, with the questions the engine asks of them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def __getitem__(self, name: str) -> Any:
        value = self.values.get(name)
        return DEFAULTS[name] if value is None else value

    def shown(self) -> dict[str, Any]:
        """Return every setting as `GET settings` lists them."""
        return {name: self[name] for name in DEFAULTS}

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of documents and queries."""
        return Tokenizer(
            separators=self["separatorTokens"],
            non_separators=self["nonSeparatorTokens"],
            dictionary=self["dictionary"],
            stop_words=self["stopWords"],
        )

    @cached_property
    def synonyms(self) -> dict[tuple[str, ...], tuple[Phrase, ...]]:
        """The synonyms, cut into words: what is written -> what is searched too."""
        return folded_synonyms(self["synonyms"], self.tokenizer)

    def fold(self, word: str) -> str:
        """Fold a word of a setting as words of documents are."""
        return normalize_word(word)

    @cached_property
    def searchable(self) -> list[str] | None:
        """The searchable attributes in order, or None for all."""
        listed: list[str] = self["searchableAttributes"]
        return None if "*" in listed else listed

    @cached_property
    def displayed(self) -> list[str] | None:
        """The displayed attributes, or None for all."""
        listed: list[str] = self["displayedAttributes"]
        return None if "*" in listed else listed

    @cached_property
    def ranking_fields(self) -> list[str]:
        """Fields named by custom ranking rules."""
        return [rule.rpartition(":")[0] for rule in self["rankingRules"] if ":" in rule]

    @cached_property
    def geo(self) -> bool:
        """Whether `_geo` can be filtered or sorted by."""
        return bool(self.features("_geo")) or "_geo" in self["sortableAttributes"]

    def features(self, field: str) -> Features | None:
        """Return what the first matching filterable rule allows for a field, if any matches."""
        for position, rule in enumerate(self["filterableAttributes"]):
            if isinstance(rule, str):
                if rule == "*" or is_under(field, rule):
                    return Features(facet_search=True, equality=True, comparison=True, rule=position)
            elif any(matches_pattern(pattern, field) for pattern in rule["attributePatterns"]):
                chosen = rule["features"]
                operators = chosen["filter"]
                return Features(
                    facet_search=chosen["facetSearch"],
                    equality=operators["equality"],
                    comparison=operators["comparison"],
                    rule=position,
                )
        return None

    def patterns(self, wanted: Callable[[Features], bool]) -> list[str]:
        """List the filterable patterns with a feature, sorted, for error messages."""
        found: set[str] = set()
        for position, rule in enumerate(self["filterableAttributes"]):
            if isinstance(rule, str):
                found.add(rule)
                continue
            operators = rule["features"]["filter"]
            features = Features(
                facet_search=rule["features"]["facetSearch"],
                equality=operators["equality"],
                comparison=operators["comparison"],
                rule=position,
            )
            if wanted(features):
                found.update(rule["attributePatterns"])
        return sorted(found)

    def is_faceted(self, field: str) -> bool:
        """Tell whether the values of a field are indexed for filters, facets or sorting."""
        distinct = self["distinctAttribute"]
        return (
            self.features(field) is not None
            or is_listed(field, self["sortableAttributes"])
            or is_listed(field, self.ranking_fields)
            or (distinct is not None and is_under(field, distinct))
        )

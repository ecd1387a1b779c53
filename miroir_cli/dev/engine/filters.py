"""Filters over an index: which documents a filter keeps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import bits
from .errors import EngineError
from .filter_parser import All, Any_, Box, Condition, FilterSyntaxError, Node, Not, Radius, parse_json
from .filter_text import canonical
from .geo import distance
from .text import normalize_facet, truncate_facet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facets import Column
    from .filter_parser import Part
    from .index import Index
    from .settings import Features

_COMPARISONS = {">", ">=", "<", "<=", "TO"}
_SHOWN = {"STARTS": "STARTS WITH", "NULL": "IS NULL", "EMPTY": "IS EMPTY"}


def evaluate(index: Index, value: Any, code: str = "invalid_search_filter", *, named: bool = True) -> int:
    """Return the documents a request's filter keeps; None keeps all.

    Errors carry `code`, and the index's name unless `named` is off.
    """
    if value is None:
        return index.universe
    try:
        tree = parse_json(value)
    except FilterSyntaxError as error:
        raise EngineError(code, str(error)) from None
    if tree is None:
        return index.universe
    if named:
        tree = canonical(tree)
    return _Evaluation(index, code, named=named).run(tree)


def check(value: Any, code: str) -> Node | None:
    """Parse only: the part of the checks that needs no index."""
    try:
        tree = parse_json(value)
    except FilterSyntaxError as error:
        raise EngineError(code, str(error)) from None
    if tree is not None:
        _refuse_contains(tree, code)
    return tree


def evaluate_numbers(index: Index, value: Any, code: str) -> Iterator[int]:
    """Yield the numbers of the documents a filter keeps, ascending."""
    return bits.members(evaluate(index, value, code))


def _conditions(tree: Node) -> Iterator[Condition]:
    if isinstance(tree, Condition):
        yield tree
    elif isinstance(tree, Not):
        yield from _conditions(tree.inner)
    elif isinstance(tree, (All, Any_)):
        for part in tree.parts:
            yield from _conditions(part)


def _refuse_contains(tree: Node, code: str) -> None:
    for condition in _conditions(tree):
        if condition.field.value in ("_vectors", "_shard") or condition.field.value.startswith("_vectors."):
            message = f"Using `{condition.field.value}` in a filter requires enabling an experimental feature."
            raise EngineError("feature_not_enabled", message)
        if condition.operator == "CONTAINS":
            message = (
                "Using `CONTAINS` in a filter requires enabling the `contains filter` experimental feature."
                " See https://github.com/orgs/meilisearch/discussions/763"
            )
            raise EngineError(code if code != "invalid_search_filter" else "feature_not_enabled", message)


class _Evaluation:
    """One filter on one index."""

    def __init__(self, index: Index, code: str, *, named: bool) -> None:
        self.index, self.code = index, code
        self.prefix = f"Index `{index.uid}`: " if named else ""

    def error(self, message: str) -> EngineError:
        return EngineError(self.code, self.prefix + message)

    def run(self, tree: Node) -> int:
        _refuse_contains(tree, self.code)
        for condition in _conditions(tree):
            features = self.index.settings.features(condition.field.value)
            if features is None or not features.filterable or condition.field.value == "_geo":
                raise self._not_filterable(condition.field, condition.field.value)
        return self._node(tree)

    def _not_filterable(self, part: Part, name: str) -> EngineError:
        patterns = self.index.settings.patterns(lambda features: features.filterable)
        if patterns:
            listed = ", ".join(f"`{pattern}`" for pattern in patterns)
            known = f"Available filterable attribute patterns are: {listed}."
        else:
            known = "This index does not have configured filterable attributes."
        return self.error(part.message(f"Attribute `{name}` is not filterable. {known}"))

    def _node(self, tree: Node) -> int:
        if isinstance(tree, Condition):
            return self._condition(tree)
        if isinstance(tree, Not):
            return self.index.universe & ~self._node(tree.inner)
        if isinstance(tree, All):
            kept = self._node(tree.parts[0])
            for part in tree.parts[1:]:
                if not kept:
                    break
                kept &= self._node(part)
            return kept
        if isinstance(tree, Any_):
            kept = 0
            for part in tree.parts:
                kept |= self._node(part)
            return kept
        return self._radius(tree) if isinstance(tree, Radius) else self._box(tree)

    def _condition(self, condition: Condition) -> int:
        field, operator = condition.field.value, condition.operator
        if field not in self.index.fields:
            return 0
        features = self.index.settings.features(field)
        assert features is not None
        self._check_operator(condition, features)
        column = self.index.facets.columns.get(field)
        if column is None:
            return self.index.universe if operator == "!=" else 0
        if operator in ("=", "!=", "IN"):
            found = 0
            for value in condition.values:
                found |= _equal(column, value)
            return self.index.universe & ~found if operator == "!=" else found
        if operator == "STARTS":
            prefix = normalize_facet(condition.values[0].value)
            return column.strings_starting(prefix) if prefix else column.exists
        if operator in _COMPARISONS:
            return _between(column, operator, condition.values)
        return {"EXISTS": column.exists, "NULL": column.null, "EMPTY": column.empty}[operator]

    def _check_operator(self, condition: Condition, features: Features) -> None:
        operator = condition.operator
        allowed = features.comparison if operator in _COMPARISONS else features.equality
        if operator == "STARTS" or operator in ("EXISTS", "NULL", "EMPTY"):
            allowed = True
        if allowed:
            return
        field, rule = condition.field.value, features.rule
        known = ["OR", "AND", "NOT", *(["=", "!=", "IN"] if features.equality else [])]
        known += ["<", ">", "<=", ">=", "TO"] if features.comparison else []
        known += ["IS EMPTY", "IS NULL", "EXISTS"]
        missing = "comparison" if operator in _COMPARISONS else "equality"
        shown = "=" if operator == "IN" else _SHOWN.get(operator, operator)
        raise self.error(
            f"Filter operator `{shown}` is not allowed for the attribute `{field}`.\n"
            f"  - Note: allowed operators: {', '.join(known)}.\n"
            f"  - Note: field `{field}` matched rule #{rule} in `filterableAttributes`\n"
            f"  - Hint: enable {missing} in rule #{rule} by modifying the features.filter object\n"
            f"  - Hint: prepend another rule matching `{field}` with appropriate filter features before rule #{rule}"
        )

    def _point(self, latitude: Part, longitude: Part) -> tuple[float, float]:
        if not self._geo_enabled():
            raise self._not_filterable(latitude, "_geo/_geojson")
        lat, lng = float(latitude.value), float(longitude.value)
        if not -90 <= lat <= 90:
            message = f"Bad latitude `{lat:g}`. Latitude must be contained between -90 and 90 degrees."
            raise self.error(latitude.message(message))
        if not -180 <= lng <= 180:
            hint = (lng + 180) % 360 - 180
            message = (
                f"Bad longitude `{lng:g}`. Longitude must be contained between -180 and 180 degrees."
                f" Hint: try using `{hint:g}` instead."
            )
            raise self.error(longitude.message(message))
        return lat, lng

    def _geo_enabled(self) -> bool:
        features = self.index.settings.features("_geo")
        return features is not None and features.filterable

    def _radius(self, tree: Radius) -> int:
        center = self._point(tree.values[0], tree.values[1])
        metres = float(tree.values[2].value)
        near = (n for n, point in self.index.points.items() if distance(center, point) <= metres)
        return bits.from_numbers(near, self.index.universe.bit_length() + 1)

    def _box(self, tree: Box) -> int:
        top, right = self._point(tree.values[0], tree.values[1])
        bottom, left = self._point(tree.values[2], tree.values[3])
        if top < bottom:
            message = f"The top latitude `{top:g}` is below the bottom latitude `{bottom:g}`."
            raise self.error(tree.values[3].message(message))

        def inside(lat: float, lng: float) -> bool:
            wide = left <= lng <= right if right >= left else lng >= left or lng <= right
            return bottom <= lat <= top and wide

        found = (n for n, (lat, lng) in self.index.points.items() if inside(lat, lng))
        return bits.from_numbers(found, self.index.universe.bit_length() + 1)


def _equal(column: Column, part: Part) -> int:
    found = column.documents(truncate_facet(normalize_facet(part.value)))
    number = part.number()
    return found if number is None else found | column.documents(number)


def _between(column: Column, operator: str, values: tuple[Part, ...]) -> int:
    largest = sys.float_info.max
    texts = [normalize_facet(value.value) for value in values]
    numbers = [value.number() for value in values]
    low: str | None = texts[0] if operator in (">", ">=", "TO") else None
    high: str | None = texts[-1] if operator in ("<", "<=", "TO") else None
    opened = {"open_low": operator == ">", "open_high": operator == "<"}
    found = 0
    if low is None or high is None or low <= high:
        found = column.strings_between(low, high, **opened)
    if None in numbers:
        return found
    first, last = numbers[0], numbers[-1]
    start = first if operator in (">", ">=", "TO") and first is not None else -largest
    end = last if operator in ("<", "<=", "TO") and last is not None else largest
    if start <= end:
        found |= column.numbers_between(start, end, **opened)
    return found

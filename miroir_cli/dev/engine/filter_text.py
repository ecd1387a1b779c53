"""Filters written out in one form: searches report errors against it."""

from __future__ import annotations

from .filter_parser import All, Any_, Box, Condition, Node, Not, Part, Radius


def canonical(tree: Node) -> Node:
    """Write a filter out in one form and point its parts there: searches report errors against it."""
    pieces: list[str | Part] = []
    _write(tree, pieces)
    starts: dict[int, int] = {}
    text = ""
    for piece in pieces:
        if isinstance(piece, Part):
            starts[id(piece)] = len(text)
            text += piece.value
        else:
            text += piece
    return _moved(tree, starts, text)


_SPELLED = {"NULL": " IS NULL", "EMPTY": " IS EMPTY", "EXISTS": " EXISTS"}


def _write(tree: Node, pieces: list[str | Part]) -> None:
    if isinstance(tree, Not):
        pieces.append("NOT (")
        _write(tree.inner, pieces)
        pieces.append(")")
    elif isinstance(tree, (All, Any_)):
        for number, part in enumerate(tree.parts):
            pieces.append((" AND " if isinstance(tree, All) else " OR ") if number else "")
            pieces.append("(")
            _write(part, pieces)
            pieces.append(")")
    elif isinstance(tree, Condition):
        _write_condition(tree, pieces)
    elif isinstance(tree, Radius):
        pieces.append("_geoRadius(")
        for number, value in enumerate(tree.values):
            pieces += [", " if number else "", value]
        pieces.append(")")
    else:
        top, right, bottom, left = tree.values
        pieces += ["_geoBoundingBox([", top, ", ", right, "], [", bottom, ", ", left, "])"]


def _write_condition(tree: Condition, pieces: list[str | Part]) -> None:
    quoted: list[str | Part] = []
    for number, value in enumerate(tree.values):
        separator = {"IN": ", ", "TO": " TO "}.get(tree.operator, "")
        quoted += [f'{separator}"' if number else '"', value, '"']
    pieces += ['"', tree.field, '"']
    if tree.operator in _SPELLED:
        pieces.append(_SPELLED[tree.operator])
    elif tree.operator == "IN":
        pieces += [" IN [", *quoted, "]"]
    else:
        sign = {"TO": "", "STARTS": "STARTS WITH ", "CONTAINS": "CONTAINS "}.get(tree.operator)
        pieces += [" ", tree.operator + " " if sign is None else sign, *quoted]


def _moved(tree: Node, starts: dict[int, int], text: str) -> Node:
    def part(old: Part) -> Part:
        start = starts[id(old)]
        return Part(old.value, start, start + len(old.value), text)

    if isinstance(tree, Not):
        return Not(_moved(tree.inner, starts, text))
    if isinstance(tree, All):
        return All(tuple(_moved(each, starts, text) for each in tree.parts))
    if isinstance(tree, Any_):
        return Any_(tuple(_moved(each, starts, text) for each in tree.parts))
    if isinstance(tree, Condition):
        return Condition(part(tree.field), tree.operator, tuple(part(value) for value in tree.values))
    values = tuple(part(value) for value in tree.values)
    return Radius(values) if isinstance(tree, Radius) else Box(values)

"""The filter language: text to a tree.

Grammar of Meilisearch's filter parser; errors carry its messages with the columns of the wrong part.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import msgspec

_WORD = re.compile(r"[\w.\-]+")
_FLOAT = r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*"
_NUMBER = re.compile(_FLOAT)
_KEYWORDS = {
    "AND", "OR", "IN", "NOT", "TO", "EXISTS", "IS", "NULL", "EMPTY", "CONTAINS", "STARTS", "WITH",
    "_geoRadius", "_geoBoundingBox",
}  # fmt: skip
_OPERATIONS = (
    "`=`, `!=`, `>=`, `>`, `<=`, `<`, `IN`, `NOT IN`, `TO`, `EXISTS`, `NOT EXISTS`, `IS NULL`, `IS NOT NULL`,"
    " `IS EMPTY`, `IS NOT EMPTY`, `CONTAINS`, `NOT CONTAINS`, `STARTS WITH`, `NOT STARTS WITH`, `_geoRadius`,"
    " `_geoBoundingBox` or `_geoPolygon`"
)
_ESCAPES = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b"}
MAX_DEPTH = 150


class FilterSyntaxError(ValueError):
    """A filter that cannot be read; the message has the columns already."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the filter's text: its value and where it stands."""

    value: str
    start: int
    end: int
    source: str

    def message(self, text: str) -> str:
        """Append the columns and the filter to a message."""
        return f"{text}\n{self.start + 1}:{self.end + 1} {self.source}"

    def number(self) -> float | None:
        """Return the value as a finite number, if it is one."""
        try:
            number = float(self.value)
        except ValueError:
            return None
        return number if math.isfinite(number) and "_" not in self.value else None


@dataclass(frozen=True, slots=True)
class Condition:
    """`field operator values`; operators: = != > >= < <= TO IN EXISTS NULL EMPTY STARTS CONTAINS."""

    field: Part
    operator: str
    values: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """Everything but."""

    inner: Node


@dataclass(frozen=True, slots=True)
class All:
    """AND."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    """OR."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Radius:
    """`_geoRadius(latitude, longitude, metres)`."""

    values: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """`_geoBoundingBox([top, right], [bottom, left])`."""

    values: tuple[Part, ...]


Node = Condition | Not | All | Any_ | Radius | Box


def parse(text: str) -> Node | None:
    """Read one filter expression; blank means no filter."""
    if not text.strip():
        return None
    reader = _Reader(text)
    tree = reader.either(0)
    if reader.position < len(text):
        rest = reader.part(reader.position, len(text))
        raise rest_error(
            rest,
            f"Found unexpected characters at the end of the filter: `{rest.value}`."
            " You probably forgot an `OR` or an `AND` rule.",
        )
    return tree


def parse_json(value: Any) -> Node | None:
    """Read a filter as requests carry it: a string, or arrays (AND of strings and of OR arrays)."""
    if isinstance(value, str):
        return parse(value)
    if not isinstance(value, list):
        raise FilterSyntaxError(_type_message("String, Array", value))
    parts: list[Node] = []
    for item in value:
        if isinstance(item, list):
            for inner in item:
                if not isinstance(inner, str):
                    raise FilterSyntaxError(_type_message("String", inner))
            choices = [tree for inner in item if (tree := parse(inner)) is not None]
            if choices:
                parts.append(choices[0] if len(choices) == 1 else Any_(tuple(choices)))
        elif isinstance(item, str):
            if (tree := parse(item)) is not None:
                parts.append(tree)
        else:
            raise FilterSyntaxError(_type_message("String, [String]", item))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _type_message(expected: str, found: Any) -> str:
    shown = msgspec.json.encode(found).decode()
    return f"Invalid syntax for the filter parameter: `expected {expected}, found: {shown}`."


def rest_error(part: Part, text: str) -> FilterSyntaxError:
    """Build the error for a part."""
    return FilterSyntaxError(part.message(text))


class _Reader:
    """Recursive descent over one filter."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def part(self, start: int, end: int, value: str | None = None) -> Part:
        return Part(self.text[start:end] if value is None else value, start, end, self.text)

    def blank(self) -> None:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1

    def word(self, keyword: str) -> bool:
        """Skip blanks and take a whole keyword, if it is next."""
        start = self.position
        self.blank()
        match = _WORD.match(self.text, self.position)
        if match is not None and match.group() == keyword:
            self.position = match.end()
            return True
        self.position = start
        return False

    def words(self, *keywords: str) -> bool:
        start = self.position
        if all(self.word(keyword) for keyword in keywords):
            return True
        self.position = start
        return False

    def sign(self, text: str) -> bool:
        """Skip blanks and take a sign, if it is next."""
        start = self.position
        self.blank()
        if self.text.startswith(text, self.position):
            self.position += len(text)
            return True
        self.position = start
        return False

    def _deeper(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            rest = self.part(self.position, len(self.text))
            raise rest_error(
                rest,
                "The filter exceeded the maximum depth limit."
                " Try rewriting the filter so that it contains fewer nested conditions.",
            )

    def either(self, depth: int) -> Node:
        self._deeper(depth)
        parts = [self.both(depth + 1)]
        while self.word("OR"):
            parts.append(self.both(depth + 1))
        self.blank()
        return parts[0] if len(parts) == 1 else Any_(tuple(parts))

    def both(self, depth: int) -> Node:
        self._deeper(depth)
        parts = [self.negated(depth + 1)]
        while self.word("AND"):
            parts.append(self.negated(depth + 1))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def negated(self, depth: int) -> Node:
        self._deeper(depth)
        if self.word("NOT"):
            inner = self.negated(depth + 1)
            return inner.inner if isinstance(inner, Not) else Not(inner)
        return self.primary(depth + 1)

    def primary(self, depth: int) -> Node:
        self._deeper(depth)
        start = self.position
        if self.sign("("):
            inner = self.either(depth + 1)
            if not self.sign(")"):
                rest = self.part(start, len(self.text))
                raise rest_error(rest, f"Expression `{rest.value}` is missing the following closing delimiter: `)`.")
            self.blank()
            return inner
        if self.word("_geoRadius"):
            return self._radius(start)
        if self.word("_geoBoundingBox"):
            return self._box(start)
        if self.word("_geoPolygon") or self.word("_foreign"):
            raise self._fail(start, "Filter not supported by the embedded development node")
        self.blank()
        for name in ("_geoPoint", "_geoDistance", "_geo"):
            if self.text.startswith(name + "(", self.position):
                raise self._fail(
                    self.position,
                    f"`{name}` is a reserved keyword and thus can't be used as a filter expression. Use the"
                    " `_geoRadius(latitude, longitude, distance)` or `_geoBoundingBox([latitude, longitude],"
                    " [latitude, longitude])` built-in rules to filter on `_geo` coordinates.",
                )
        return self._condition(start)

    def _fail(self, start: int, text: str) -> FilterSyntaxError:
        return rest_error(self.part(start, len(self.text)), text)

    def _condition(self, start: int) -> Node:
        field = self.value()
        for operator in ("<=", ">=", "!=", "<", ">", "="):
            if self.sign(operator):
                return Condition(field, operator, (self.value(),))
        if self.word("IN"):
            return Condition(field, "IN", self._list())
        if self.words("NOT", "IN"):
            return Not(Condition(field, "IN", self._list()))
        for words, operator in (
            (("EXISTS",), "EXISTS"),
            (("IS", "NULL"), "NULL"),
            (("IS", "EMPTY"), "EMPTY"),
        ):
            if self.words(*words):
                return Condition(field, operator)
            if self.words(*words[:-1], "NOT", words[-1]):
                return Not(Condition(field, operator))
        for words, operator in ((("STARTS", "WITH"), "STARTS"), (("CONTAINS",), "CONTAINS")):
            if self.words(*words):
                return Condition(field, operator, (self.value(),))
            if self.words("NOT", *words):
                return Not(Condition(field, operator, (self.value(),)))
        position = self.position
        try:
            low = self.value()
        except FilterSyntaxError:
            low = None
        if low is not None and self.word("TO"):
            return Condition(field, "TO", (low, self.value()))
        self.position = position
        rest = self.part(start, len(self.text))
        shown = f"at `{rest.value}`." if rest.value.strip() else "but instead got nothing."
        raise rest_error(rest, f"Was expecting an operation {_OPERATIONS} {shown}")

    def _list(self) -> tuple[Part, ...]:
        if not self.sign("["):
            raise self._fail(self.position, "Expected `[` after `IN` keyword.")
        values: list[Part] = []
        while not self.sign("]"):
            if self.position >= len(self.text.rstrip()):
                message = "Expected matching `]` after the list of field names given to `IN[`"
                raise self._fail(self.position, message)
            if values and not self.sign(","):
                rest = self.text[self.position :]
                message = f"Expected only comma-separated field names inside `IN[..]` but instead found `{rest}`."
                raise self._fail(self.position, message)
            if values and self.sign("]"):
                break
            values.append(self.value())
        return tuple(values)

    def value(self) -> Part:
        """Take a word or a quoted text."""
        self.blank()
        start = self.position
        for name, text in (("_geoRadius", "_geoRadius"), ("_geoBoundingBox", "_geoBoundingBox")):
            if self.text.startswith(name + "(", start):
                raise self._fail(start, f"The `{text}` filter is an operation and can't be used as a value.")
        quote = self.text[start : start + 1]
        if quote in ("'", '"') and quote:
            return self._quoted(start, quote)
        match = _WORD.match(self.text, start)
        if match is None:
            rest = re.compile(r"[^\s()=<>!]*").match(self.text, start)
            end = rest.end() if rest else start
            found = self.text[start:end]
            text = f"`{found}`" if found.strip() else "nothing"
            raise rest_error(self.part(start, end), f"Was expecting a value but instead got {text}.")
        if match.group() in _KEYWORDS:
            found = match.group()
            raise rest_error(
                self.part(start, match.end()),
                f"Was expecting a value but instead got `{found}`, which is a reserved keyword."
                f" To use `{found}` as a field name or a value, surround it by quotes.",
            )
        self.position = match.end()
        return self.part(start, match.end())

    def _quoted(self, start: int, quote: str) -> Part:
        end = start + 1
        while end < len(self.text) and self.text[end] != quote:
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            rest = self.part(start, len(self.text))
            message = f"Expression `{rest.value}` is missing the following closing delimiter: `{quote}`."
            raise rest_error(rest, message)
        self.position = end + 1
        raw = self.text[start + 1 : end].replace("\\" + quote, quote)
        return self.part(start + 1, end, self._unescaped(raw, start + 1, end))

    def _unescaped(self, raw: str, start: int, end: int) -> str:
        if "\\" not in raw:
            return raw

        def character(match: re.Match[str]) -> str:
            code = match.group(1)
            if code[0] in "ux" and len(code) > 1:
                return chr(int(code[1:].strip("{}"), 16))
            if code.isdigit():
                return chr(int(code, 8))
            if code in _ESCAPES:
                return _ESCAPES[code]
            if code in "\\'\"`$":
                return code
            raise rest_error(self.part(start, end), f"Malformed value: `{raw}`.")

        pattern = r"\\(u\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[0-7]{1,3}|.)"
        return re.sub(pattern, character, raw, flags=re.DOTALL)

    def _numbers(self, pattern: str) -> tuple[Part, ...] | None:
        match = re.compile(pattern).match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        groups = range(1, (match.lastindex or 0) + 1)
        found = tuple(self.part(match.start(n), match.end(n)) for n in groups if match.group(n) is not None)
        self.blank()
        return found

    def _radius(self, start: int) -> Node:
        found = self._numbers(rf"\({_FLOAT},{_FLOAT},{_FLOAT}(?:,{_FLOAT})?\)")
        if found is None:
            form = "`_geoRadius(latitude, longitude, radius, optionalResolution)`"
            raise self._fail(start, f"The `_geoRadius` filter must be in the form: {form}.")
        return Radius(found)

    def _box(self, start: int) -> Node:
        pair = rf"\s*\[{_FLOAT},{_FLOAT}\]\s*"
        found = self._numbers(rf"\({pair},{pair}\)")
        if found is None:
            form = "`_geoBoundingBox([latitude, longitude], [latitude, longitude])`"
            raise self._fail(start, f"The `_geoBoundingBox` filter expects two pairs of arguments: {form}.")
        return Box(found)

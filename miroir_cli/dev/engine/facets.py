"""Values of filterable and sortable fields, inverted: value -> documents."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain, groupby
from typing import TYPE_CHECKING, TypeVar

from . import bits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .fields import FacetValues

Value = float | str
Key = TypeVar("Key", float, str)
Order = tuple[list[tuple[Value, list[int]]], dict[int, int]]


class Column:
    """One field: numbers and strings apart, since Meilisearch keeps them in two orders."""

    def __init__(self) -> None:
        self.numbers: dict[float, set[int]] = {}
        self.strings: dict[str, set[int]] = {}
        self.exists = 0
        self.null = 0
        self.empty = 0
        self._bits: dict[Value, int] = {}
        self._sorted: dict[str, list[Value]] = {}
        self._orders: dict[bool, Order] = {}

    def _forget(self, values: Iterable[Value]) -> None:
        for value in values:
            self._bits.pop(value, None)
        self._sorted.clear()
        self._orders.clear()

    def add(self, number: int, found: FacetValues) -> None:
        """Record a document's values."""
        for value in found.numbers:
            self.numbers.setdefault(value, set()).add(number)
        for text in found.strings:
            self.strings.setdefault(text, set()).add(number)
        self._forget(chain(found.numbers, found.strings))

    def remove(self, number: int, found: FacetValues) -> None:
        """Forget a document's values."""
        for value in found.numbers:
            _discard(self.numbers, value, number)
        for text in found.strings:
            _discard(self.strings, text, number)
        self._forget(chain(found.numbers, found.strings))

    def documents(self, value: Value) -> int:
        """Return the documents that have exactly this number or folded string."""
        cached = self._bits.get(value)
        if cached is None:
            members = self.strings.get(value) if isinstance(value, str) else self.numbers.get(value)
            cached = bits.from_numbers(members, max(members) + 1) if members else 0
            self._bits[value] = cached
        return cached

    def ordered_numbers(self) -> list[float]:
        """Return all numbers, ascending."""
        if "numbers" not in self._sorted:
            self._sorted["numbers"] = sorted(self.numbers)
        return self._sorted["numbers"]  # type: ignore[return-value]

    def ordered_strings(self) -> list[str]:
        """Return all folded strings, ascending."""
        if "strings" not in self._sorted:
            self._sorted["strings"] = sorted(self.strings)
        return self._sorted["strings"]  # type: ignore[return-value]

    def numbers_between(self, low: float, high: float, *, open_low: bool, open_high: bool) -> int:
        """Return the documents with a number in a range; open ends exclude the bound."""
        ordered = self.ordered_numbers()
        start = bisect_right(ordered, low) if open_low else bisect_left(ordered, low)
        end = bisect_left(ordered, high) if open_high else bisect_right(ordered, high)
        return _union(self.numbers[value] for value in ordered[start:end])

    def strings_between(self, low: str | None, high: str | None, *, open_low: bool, open_high: bool) -> int:
        """Return the documents with a folded string in a range; None is unbounded."""
        ordered = self.ordered_strings()
        start, end = 0, len(ordered)
        if low is not None:
            start = bisect_right(ordered, low) if open_low else bisect_left(ordered, low)
        if high is not None:
            end = bisect_left(ordered, high) if open_high else bisect_right(ordered, high)
        return _union(self.strings[value] for value in ordered[start:end])

    def strings_starting(self, prefix: str) -> int:
        """Return the documents with a folded string that starts with a prefix."""
        ordered = self.ordered_strings()
        found = []
        for value in ordered[bisect_left(ordered, prefix) :]:
            if not value.startswith(prefix):
                break
            found.append(self.strings[value])
        return _union(found)

    def _order(self, ascending: bool) -> Order:
        cached = self._orders.get(ascending)
        if cached is None:
            groups: list[tuple[Value, list[int]]] = []
            place: dict[int, int] = {}
            numbers: list[float] = self.ordered_numbers()
            strings: list[str] = self.ordered_strings()
            step = 1 if ascending else -1
            ordered: list[Value] = [*numbers[::step], *strings[::step]]
            for value in ordered:
                members = self.strings[value] if isinstance(value, str) else self.numbers[value]
                fresh = [number for number in sorted(members) if number not in place]
                if fresh:
                    place.update(dict.fromkeys(fresh, len(groups)))
                    groups.append((value, fresh))
            cached = self._orders[ascending] = (groups, place)
        return cached

    def sorted_groups(self, universe: int, *, ascending: bool) -> Iterator[tuple[Value | None, int]]:
        """Yield (value, documents) in order: numbers, then strings, then documents without value.

        A document with several values stands at the first of them in this order.
        """
        groups, place = self._order(ascending)
        rest = universe
        if universe.bit_count() * 8 < len(place):
            ranked = sorted((place[n], n) for n in bits.members(universe) if n in place)
            for rank, members in groupby(ranked, key=lambda pair: pair[0]):
                found = 0
                for _, number in members:
                    found |= 1 << number
                rest ^= found
                yield groups[rank][0], found
        else:
            present = universe.to_bytes((universe.bit_length() + 7) >> 3, "little")
            limit = len(present) << 3
            for value, numbers in groups:
                found = 0
                for number in numbers:
                    if number < limit and present[number >> 3] >> (number & 7) & 1:
                        found |= 1 << number
                if found:
                    rest ^= found
                    yield value, found
        if rest:
            yield None, rest


def _discard(values: dict[Key, set[int]], key: Key, number: int) -> None:
    members = values.get(key)
    if members is not None:
        members.discard(number)
        if not members:
            del values[key]


def _union(sets: Iterable[set[int]]) -> int:
    chosen = list(sets)
    if not chosen:
        return 0
    return bits.from_numbers(chain.from_iterable(chosen), max(map(max, chosen)) + 1)


class Facets:
    """All columns of an index."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}

    def change(
        self,
        removed: Iterable[tuple[int, dict[str, FacetValues]]],
        added: Iterable[tuple[int, dict[str, FacetValues]]],
    ) -> None:
        """Take out the old values of some documents, then put in the new ones."""
        flags: dict[str, list[list[int]]] = {}
        for number, values in removed:
            for name, found in values.items():
                column = self.columns.setdefault(name, Column())
                column.remove(number, found)
                flags.setdefault(name, [[], [], [], []])[3].append(number)
        self._clear(flags)
        flags = {}
        for number, values in added:
            for name, found in values.items():
                self.columns.setdefault(name, Column()).add(number, found)
                lists = flags.setdefault(name, [[], [], [], []])
                lists[0].append(number)
                if found.null:
                    lists[1].append(number)
                if found.empty:
                    lists[2].append(number)
        for name, (exists, null, empty, _) in flags.items():
            column, limit = self.columns[name], max(exists) + 1
            column.exists |= bits.from_numbers(exists, limit)
            column.null |= bits.from_numbers(null, limit)
            column.empty |= bits.from_numbers(empty, limit)

    def _clear(self, flags: dict[str, list[list[int]]]) -> None:
        for name, (_, _, _, gone) in flags.items():
            column, mask = self.columns[name], bits.from_numbers(gone, max(gone) + 1)
            column.exists &= ~mask
            column.null &= ~mask
            column.empty &= ~mask

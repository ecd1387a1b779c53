"""One index in memory: documents by number, and the search structures made from them."""

from __future__ import annotations

import gc
import heapq
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from . import bits
from .attributes import is_listed, is_under, matches_pattern
from .facets import Facets
from .fields import MATCH, NO_MATCH, PARENT, FacetValues, facet_values, names
from .settings import Settings
from .vectors import FIELD as VECTORS
from .vectors import Store, plain
from .words import Words, document_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .words import DocumentWords

decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One document's change: `old` and `new` are None before an insert and after a delete."""

    number: int
    id: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The costly part of a change, made without holding the node's lock."""

    changes: Sequence[Change]
    removed_facets: list[tuple[int, dict[str, FacetValues]]]
    added_facets: list[tuple[int, dict[str, FacetValues]]]
    removed_words: list[tuple[int, DocumentWords]]
    added_words: list[tuple[int, DocumentWords]]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector from walking a growing index over and over."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Index:
    """Documents, facets and words of one index. Not thread-safe: the node's lock guards it."""

    def __init__(self, uid: str, record: dict[str, Any]) -> None:
        self.uid = uid
        self.primary_key: str | None = record["primaryKey"]
        self.created_at: str = record["createdAt"]
        self.updated_at: str = record["updatedAt"]
        self.settings = Settings(record["settings"])
        self.fields: set[str] = set(record["fields"])
        self.bodies: dict[int, bytes] = {}
        self.ids: dict[int, str] = {}
        self.numbers: dict[str, int] = {}
        self.universe = 0
        self.distribution: dict[str, int] = {}
        self.facets = Facets()
        self.words = Words()
        self.vectors = Store()
        self.points: dict[int, tuple[float, float]] = {}
        self._free: list[int] = []
        self._next = 0
        self._selections: dict[str, dict[str, int]] = {"facet": {}, "word": {}}

    def record(self) -> dict[str, Any]:
        """Return what the store keeps of the index itself."""
        return {
            "uid": self.uid,
            "primaryKey": self.primary_key,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "settings": self.settings.values,
            "fields": sorted(self.fields),
        }

    def shown(self) -> dict[str, Any]:
        """Return the index object of the API."""
        return {
            "uid": self.uid,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "primaryKey": self.primary_key,
        }

    def load(self, rows: Iterable[tuple[int, str, bytes]]) -> None:
        """Fill an empty index from the store."""
        with _without_collector():
            changes = [
                Change(number=number, id=id_, old=None, new=decode(body), body=body) for number, id_, body in rows
            ]
            self.apply(self.prepare(changes))
        self._next = max(self.ids, default=-1) + 1
        self._free = sorted(set(range(self._next)) - set(self.ids))

    def replace_settings(self, settings: Settings) -> None:
        """Take new settings and rebuild the search structures under them."""
        rows = [(number, self.ids[number], self.bodies[number]) for number in sorted(self.bodies)]
        self.settings = settings
        self.clear()
        self.load(rows)

    def clear(self) -> None:
        """Remove every document; known field names stay known."""
        self.bodies, self.ids, self.numbers = {}, {}, {}
        self.universe, self.distribution = 0, {}
        self.facets, self.words, self.vectors, self.points = Facets(), Words(), Store(), {}
        self._free, self._next = [], 0
        self._selections = {"facet": {}, "word": {}}

    def allocate(self) -> int:
        """Return the number of a new document: freed ones first, lowest first."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def release(self, numbers: Iterable[int]) -> None:
        """Give numbers back."""
        for number in numbers:
            heapq.heappush(self._free, number)

    def document(self, number: int) -> dict[str, Any]:
        """Decode one document."""
        document: dict[str, Any] = decode(self.bodies[number])
        return document

    def deletion(self, number: int) -> Change:
        """Return the change that deletes a document."""
        return Change(number=number, id=self.ids[number], old=self.document(number), new=None)

    def facet_selection(self, field: str) -> int:
        """Say whether facets are taken from a field, its children, or neither."""
        cache = self._selections["facet"]
        if field not in cache:
            settings = self.settings
            if field == VECTORS:
                cache[field] = NO_MATCH
            elif settings.is_faceted(field):
                cache[field] = MATCH
            else:
                cache[field] = PARENT if self._is_parent_of_facets(field) else NO_MATCH
        return cache[field]

    def _is_parent_of_facets(self, field: str) -> bool:
        settings = self.settings
        for rule in settings["filterableAttributes"]:
            patterns = [rule] if isinstance(rule, str) else rule["attributePatterns"]
            if any("*" in p or is_under(p, field) or matches_pattern(p, field) for p in patterns):
                return True
        named = [*settings["sortableAttributes"], *settings.ranking_fields]
        if settings["distinctAttribute"]:
            named.append(settings["distinctAttribute"])
        return any(is_under(name, field) for name in named)

    def word_selection(self, field: str) -> int:
        """Say whether words are taken from a field, its children, or neither."""
        cache = self._selections["word"]
        if field not in cache:
            listed = self.settings.searchable
            if field == VECTORS:
                cache[field] = NO_MATCH
            elif listed is None or is_listed(field, listed):
                cache[field] = MATCH
            else:
                cache[field] = PARENT if any(is_under(name, field) for name in listed) else NO_MATCH
        return cache[field]

    def searchable_names(self) -> list[str]:
        """Return the names of the fields that hold words."""
        return [name for name in self.fields if self.word_selection(name) == MATCH]

    def same_values(self, field: str, number: int) -> int:
        """Return the documents that share a value of a field with a document, itself included."""
        column = self.facets.columns.get(field)
        values = self.document_facets(self.document(number)).get(field)
        found = 1 << number
        if column is not None and values is not None:
            for value in values.numbers:
                found |= column.documents(value)
            for text in values.strings:
                found |= column.documents(text)
        return found

    def field_weights(self) -> list[int]:
        """Return the rank of each field number in `searchableAttributes`, 0 when all are searchable."""
        listed = self.settings.searchable
        if listed is None:
            return [0] * len(self.words.field_names)
        return [
            next((rank for rank, name in enumerate(listed) if is_under(field, name)), 0)
            for field in self.words.field_names
        ]

    def document_facets(self, document: dict[str, Any]) -> dict[str, FacetValues]:
        """Return a document's facet values, coordinates as numbers included."""
        found = facet_values(document, self.facet_selection)
        geo = document.get("_geo")
        if self.settings.geo and isinstance(geo, dict):
            for axis in ("lat", "lng"):
                found[f"_geo.{axis}"] = FacetValues(numbers={float(geo[axis])})
        return found

    def prepare(self, changes: Sequence[Change]) -> Prepared:
        """Do the slow part of `apply`; reads only what tasks change, so no lock is needed."""
        with _without_collector():
            return self._prepare(changes)

    def _prepare(self, changes: Sequence[Change]) -> Prepared:
        prepared = Prepared(changes, [], [], [], [])
        tokenizer = self.settings.tokenizer
        for change in changes:
            if change.old is not None:
                prepared.removed_facets.append((change.number, self.document_facets(change.old)))
                words = document_words(change.old, tokenizer, self.word_selection, self.words)
                prepared.removed_words.append((change.number, words))
            if change.new is not None:
                prepared.added_facets.append((change.number, self.document_facets(change.new)))
                words = document_words(change.new, tokenizer, self.word_selection, self.words)
                prepared.added_words.append((change.number, words))
        return prepared

    def apply(self, prepared: Prepared) -> None:
        """Make the changes visible."""
        gone: list[int] = []
        come: list[int] = []
        for change in prepared.changes:
            for name in plain(change.old or {}):
                self.distribution[name] -= 1
            self.vectors.remove(change.number)
            if change.new is None:
                gone.append(change.number)
                del self.bodies[change.number], self.ids[change.number], self.numbers[change.id]
                continue
            come.append(change.number)
            self.bodies[change.number] = change.body
            self.ids[change.number] = change.id
            self.numbers[change.id] = change.number
            for name in plain(change.new):
                self.distribution[name] = self.distribution.get(name, 0) + 1
            self.fields.update(change.new, names(plain(change.new)))
            self.vectors.add(change.number, change.new, self.settings["embedders"])
        if gone:
            self.universe &= ~bits.from_numbers(gone, max(gone) + 1)
            self.release(gone)
        if come:
            self.universe |= bits.from_numbers(come, max(come) + 1)
        for number, _ in prepared.removed_facets:
            self.points.pop(number, None)
        for number, values in prepared.added_facets:
            if "_geo.lat" in values and "_geo.lng" in values:
                self.points[number] = (min(values["_geo.lat"].numbers), min(values["_geo.lng"].numbers))
        self.facets.change(prepared.removed_facets, prepared.added_facets)
        self.words.change(prepared.removed_words, prepared.added_words)

"""Facet counts and statistics of the shards, added up as one node would show them. Pure.

Values are compared in Meilisearch's normalised form, so that the spellings of one value on several nodes are one
value again; the nodes send all values, and the user's `maxValuesPerFacet` cuts after the merge.

Source of the order: `facet_distribution.rs` of Meilisearch 1.50. Numbers come before strings. `alpha`: numbers as
text while there are at most 3,000 matching documents and by value beyond, strings in normalised form. `count`: most
frequent first, equal counts by descending value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Any, Literal

from miroir_cli.model import RESERVED_PREFIX, Json
from miroir_cli.search.facet_values import facet_values, normalise, number_text

Order = Literal["alpha", "count"]
Counts = dict[str, int]

DEFAULT_MAX_VALUES = 100
LISTED_FROM_DOCUMENTS = 3000
"""Up to so many matching documents `alpha` reads the values from the documents, beyond from the facet index."""

_BETWEEN = "\n"
_SPACES = (" \n", "\n ", *"\t\r\v\f\x1c\x1d\x1e\x1f")
"""What values that are joined have in them if one of them begins or ends with a space, or has another kind of space."""

_NUMBER = re.compile(r"-?\d+(\.\d+)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetRules:
    """The user's faceting settings: values shown per facet, and the order of each facet's values."""

    max_values: int
    orders: Mapping[str, Order]

    def order(self, name: str) -> Order:
        return self.orders.get(name) or self.orders.get("*") or "alpha"


def facet_rules(settings: Json) -> FacetRules:
    faceting = settings.get("faceting") or {}
    found = faceting.get("maxValuesPerFacet")
    return FacetRules(
        max_values=DEFAULT_MAX_VALUES if found is None else found,
        orders=faceting.get("sortFacetValuesBy") or {},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetAnswer:
    """One node's facets, and how many documents matched there."""

    distribution: Mapping[str, Counts]
    stats: Mapping[str, Mapping[str, float]]
    candidates: int


def facet_answer(answer: Json, candidates: int) -> FacetAnswer:
    return FacetAnswer(
        distribution=answer.get("facetDistribution") or {},
        stats=answer.get("facetStats") or {},
        candidates=candidates,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFacets:
    """Facets counted here, from documents: of each attribute the (numbers, strings)."""

    values: Mapping[str, tuple[Counts, Counts]]
    stats: Mapping[str, Mapping[str, float]]
    candidates: int


NO_DOCUMENTS = DocumentFacets(values={}, stats={}, candidates=0)


def facets_of(documents: Sequence[Json], names: Iterable[str]) -> DocumentFacets:
    """The facets that a node counts for these documents."""
    values: dict[str, tuple[Counts, Counts]] = {}
    stats: dict[str, dict[str, float]] = {}
    for name in names:
        numbers: dict[float, int] = {}
        strings: dict[str, tuple[str, int]] = {}
        for found in (facet_values(document, name) for document in documents):
            for number in found.numbers:
                numbers[number] = numbers.get(number, 0) + 1
            for key, original in found.strings.items():
                spelled, count = strings.get(key, (original, 0))
                strings[key] = (spelled, count + 1)
        texts = {number_text(number): count for number, count in numbers.items()}
        values[name] = (texts, dict(strings[key] for key in sorted(strings)))
        if numbers:
            stats[name] = {"min": min(numbers), "max": max(numbers)}
    return DocumentFacets(values=values, stats=stats, candidates=len(documents))


def merge_facets(
    answers: Sequence[FacetAnswer], rules: FacetRules, documents: DocumentFacets = NO_DOCUMENTS
) -> tuple[dict[str, Counts], dict[str, Any]]:
    """`facetDistribution` and `facetStats` of the whole, attributes in the order of their names.

    `documents` are counted in addition to what the nodes counted.
    """
    candidates = sum(answer.candidates for answer in answers) + documents.candidates
    distribution = {
        name: merge_values(
            [
                *(_split(answer, name, rules.order(name)) for answer in answers if name in answer.distribution),
                *([documents.values[name]] if name in documents.values else []),
            ],
            order=rules.order(name),
            candidates=candidates,
            max_values=rules.max_values,
        )
        for name in attributes([answer.distribution for answer in answers] + [documents.values])
    }
    parts = [*(answer.stats for answer in answers), documents.stats]
    stats = {name: merge_stats([part[name] for part in parts if name in part]) for name in attributes(parts)}
    return distribution, stats


def merge_stats(stats: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {"min": min(each["min"] for each in stats), "max": max(each["max"] for each in stats)}


def attributes(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names in any of the parts, without miroir's own, in order."""
    return sorted({name for part in parts for name in part if not name.startswith(RESERVED_PREFIX)})


def cut_short(answers: Sequence[FacetAnswer], rules: FacetRules, *, limit: int, every: bool = False) -> bool:
    """Whether values that the nodes left out, because they list no more than `limit`, may be missing in the whole.

    In alphabetical order the first values of the whole are among the first of each node that has them. Not so in the
    order of counts; where numbers are ordered as text on a node and by value in the whole; and where one node lists
    all strings. `every`: whether all values are wanted.
    """
    beyond = sum(answer.candidates for answer in answers) > LISTED_FROM_DOCUMENTS
    for name in attributes(answer.distribution for answer in answers):
        cut = [answer for answer in answers if len(answer.distribution.get(name, ())) >= limit]
        if cut and (every or rules.order(name) == "count"):
            return True
        if not (cut and beyond):
            continue
        numbers = {id(answer): _split(answer, name, "alpha")[0] for answer in answers if name in answer.distribution}
        if any(len(numbers[id(part)]) >= limit and part.candidates <= LISTED_FROM_DOCUMENTS for part in cut):
            return True
        if len(_sum(numbers.values())) >= rules.max_values and any(len(numbers[id(part)]) < limit for part in cut):
            return True
    return False


def strings_of(answer: FacetAnswer, name: str, order: Order) -> Counts:
    """Those values of a facet that are strings, as the node spells them."""
    return _split(answer, name, order)[1] if name in answer.distribution else {}


def _split(answer: FacetAnswer, name: str, order: Order) -> tuple[Counts, Counts]:
    values = answer.distribution[name]
    if name not in answer.stats:
        return {}, values
    as_text = answer.candidates <= LISTED_FROM_DOCUMENTS
    return split_numbers(values, order=order, as_text=as_text, stats=answer.stats[name])


def split_numbers(
    values: Counts, *, order: Order, as_text: bool, stats: Mapping[str, float] | None = None
) -> tuple[Counts, Counts]:
    """A node's values of one facet as (numbers, strings).

    JSON shows both as text: the numbers are the values in front that look like one, as long as they are in the
    order that the node lists numbers in, and within the bounds of the facet's `stats`.
    """
    least, most = (stats["min"], stats["max"]) if stats else (-inf, inf)
    numbers: Counts = {}
    last: Any = None
    for value, count in values.items():
        if not _NUMBER.match(value) or not least <= (number := float(value)) <= most:
            break
        place: Any = -count if order == "count" else value if as_text else number
        if last is not None and place < last:
            break
        numbers[value] = count
        last = place
        if number == most and order == "alpha" and not as_text:
            break
    if len(numbers) == len(values):
        return numbers, {}
    return numbers, {value: count for value, count in values.items() if value not in numbers}


def merge_values(parts: Sequence[tuple[Counts, Counts]], *, order: Order, candidates: int, max_values: int) -> Counts:
    """The values of one facet, from each node's (numbers, strings), ordered and cut."""
    from_documents = order == "alpha" and candidates <= LISTED_FROM_DOCUMENTS
    numbers = _sum(part[0] for part in parts)
    shown = dict(_order_numbers(numbers, order, as_text=from_documents)[:max_values])
    room: int | None = max_values - len(shown)
    if not from_documents and room == 0:
        room = None  # Meilisearch checks its limit when it adds a value: once full with numbers it adds all strings
    shown.update(_order_strings([part[1] for part in parts], order, room))
    return shown


def _sum(parts: Iterable[Counts]) -> Counts:
    total: Counts = {}
    for part in parts:
        if not total:
            total.update(part)
            continue
        for value, count in part.items():
            total[value] = total.get(value, 0) + count
    return total


def _order_numbers(numbers: Counts, order: Order, *, as_text: bool) -> list[tuple[str, int]]:
    if order == "count":
        return sorted(numbers.items(), key=lambda item: (-item[1], -float(item[0])))
    if as_text:
        return sorted(numbers.items())
    return sorted(numbers.items(), key=lambda item: float(item[0]))


def _order_strings(parts: Sequence[Counts], order: Order, room: int | None) -> Iterator[tuple[str, int]]:
    """The first strings with their counts, each as the first part that has it spells it.

    The parts of an alphabetical order are in that order, so that no more of each is looked at than is shown.
    """
    if order == "alpha":
        parts = [dict(islice(part.items(), room)) for part in parts]
    keys = [_normalised(part) for part in parts]
    by_key = [
        part if own is None else dict(zip(own, part.values(), strict=True))
        for own, part in zip(keys, parts, strict=True)
    ]
    total = _sum(by_key)
    if order == "alpha":
        names = sorted(total)[:room]
    else:
        least = 0 if room is None or room >= len(total) else sorted(total.values(), reverse=True)[max(room - 1, 0)]
        names = sorted((name for name, count in total.items() if count >= least), reverse=True)
        names = sorted(names, key=total.__getitem__, reverse=True)[:room]
    spelled: dict[str, str] = {}
    for own, part in zip(reversed(keys), reversed(parts), strict=True):
        spelled.update(((name, name) for name in names if name in part) if own is None else zip(own, part, strict=True))
    return ((spelled[name], total[name]) for name in names)


def _normalised(part: Counts) -> list[str] | None:
    """The normalised forms of a part's values; None where these are the values themselves.

    All at once: a part can have ten thousand of them.
    """
    text = _BETWEEN.join(part)
    if not text or not text.isascii() or text.count(_BETWEEN) != len(part) - 1:
        return list(map(normalise, part))
    lower = text.lower()
    if any(space in text for space in _SPACES) or text[0] == " " or text[-1] == " ":
        return list(map(str.strip, lower.split(_BETWEEN)))
    return None if lower == text else lower.split(_BETWEEN)

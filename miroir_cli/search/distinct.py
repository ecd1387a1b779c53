"""One document of each value of an attribute, over nodes that each see only their own documents. Pure.

What one node does, from `bucket_sort.rs` and `distinct.rs` of Meilisearch 1.50: it walks the ranked documents; one
that has a value of an earlier one falls away; documents without a value all stay. It stops once it has the hits of
the page. What it then counts, and what its facets count, are those hits and the documents that share no value with
them; with `page` or `hitsPerPage` also of these only the first of each value, in the order in which the documents came
(here: of their primary keys), or in the ranked order where a threshold made it walk to the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from enum import Enum

from miroir_cli.search.facet_values import Value, number_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """The attribute in effect, from the request (`asked`) or the settings.

    `by_default`: the settings have one, so that nodes apply it unless they are told otherwise. `filterable`: nodes can
    find and count its values. `visible`: hits show it.
    """

    attribute: str
    asked: bool
    filterable: bool
    by_default: bool
    visible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Places of the documents that stay. `doubtful`: one of several values fell away for another, so that documents
    which its own node left out because of it may be missing."""

    places: list[int]
    doubtful: bool


class Rest(Enum):
    """Which documents besides the hits count."""

    ALL = "all that share no value with a hit"
    FIRST = "the first of each value that no hit has"
    NONE = "no others"


def choose(values: Iterable[Set[Value]], most: int, seen: Set[Value] = frozenset()) -> Chosen:
    """Of documents in order, given by their values, the first `most` that share none with an earlier one."""
    taken, places, doubtful = set(seen), list[int](), False
    for place, each in enumerate(values):
        if len(places) == most:
            break
        if each.isdisjoint(taken):
            taken |= each
            places.append(place)
        else:
            doubtful = doubtful or len(each) > 1
    return Chosen(places=places, doubtful=doubtful)


def repeated_blanks(blank: Iterable[bool]) -> set[int]:
    """Places of the hits that one node drops from a page that it has filled.

    A `distinct` of the request is looked at once more there, in the documents themselves, where texts without any
    character are equal to each other (`federated/perform.rs`).
    """
    return set([place for place, each in enumerate(blank) if each][1:])


def others(values: Sequence[Set[Value]], hits: Set[int], rest: Rest) -> list[int]:
    """Places of the documents that count beside the `hits` (places too), in order."""
    if rest is Rest.NONE:
        return []
    taken: set[Value] = set().union(*(values[place] for place in hits))
    left = [place for place in range(len(values)) if place not in hits and values[place].isdisjoint(taken)]
    if rest is Rest.ALL:
        return left
    return [left[place] for place in choose((values[place] for place in left), len(left)).places]


def without(attribute: str, values: Set[Value]) -> str:
    """A filter for the documents that have none of `values`.

    The number 3 is never taken for the text "3" (see `_spell_number`), but a text that reads as a number finds that
    number as well: `numbers_like` finds out whether there is one.
    """
    return f"NOT {with_any(attribute, values)}" if values else ""


def with_any(attribute: str, values: Set[Value]) -> str:
    """A filter for the documents that have one of `values`, and of numbers that read like one of the texts."""
    spelled = [_spell_number(value) if isinstance(value, float) else spell(value) for value in sorted(values, key=str)]
    return f"{spell(attribute)} IN [{', '.join(spelled)}]"


def numbers_like(attribute: str, values: Set[Value]) -> str | None:
    """A filter for documents with a number that one of the texts among `values` reads as; None without such texts."""
    numbers = {number for value in values if isinstance(value, str) and (number := _as_number(value)) is not None}
    numbers -= values
    return f"{spell(attribute)} IN [{', '.join(map(_spell_number, sorted(numbers)))}]" if numbers else None


def has_no_value(attribute: str) -> str:
    name = spell(attribute)
    return f"{name} NOT EXISTS OR {name} IS NULL OR {name} IS EMPTY"


def spell(text: str) -> str:
    """A text as a filter reads it back."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _spell_number(value: float) -> str:
    """With an exponent that no document writes out, so that texts of digits do not match."""
    return f'"{number_text(value)}{"" if "." in number_text(value) else "."}000000000000e0"'

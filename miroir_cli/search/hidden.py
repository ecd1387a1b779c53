"""Sort values that the nodes hide, read from the documents instead. Pure.

A node shows no sort value of a field that it does not display by this very name. miroir has its nodes display all
sortable attributes; what stays hidden are fields inside of them (`maker.rank` where `maker` is sortable), and whatever
a node hides whose settings are just being changed.

Source: `new/sort.rs` of Meilisearch 1.50. Of several values the first in the order of the sort counts, numbers before
texts, these in the form in which facets are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.search.facet_values import normalise
from miroir_cli.search.view import DETAILS, values_of

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.search.rank import Hit

_ORDERED = re.compile(r"^(?P<field>.+):(?P<direction>asc|desc)$", re.DOTALL)
_GEO = "_geoPoint("
_HIDDEN = "<hidden-rule-"


@dataclass(frozen=True, slots=True, kw_only=True)
class SortRule:
    """A sort by a field, as the details of a hit name it when they show its value."""

    field: str
    ascending: bool

    @property
    def name(self) -> str:
        return f"{self.field}:{'asc' if self.ascending else 'desc'}"


def sort_rules(request: Json, ranking_rules: Sequence[str] | None, *, last: str | None) -> list[SortRule | None]:
    """The sorts of a query in the order of its ranking rules, None for one by distance; `last` is miroir's own."""
    found: list[SortRule | None] = []
    seen: set[str] = set()
    asked = False
    for rule in [*(["sort"] if ranking_rules is None else ranking_rules), *([last] if last else [])]:
        if rule != "sort":
            texts = [rule]
        else:
            texts, asked = [] if asked else list(request.get("sort") or ()), True
        for text in texts:
            match = _ORDERED.match(text)
            if match is None or match["field"] in seen:
                continue
            if text.startswith(_GEO):
                found.append(None)
                continue
            seen.add(match["field"])
            found.append(SortRule(field=match["field"], ascending=match["direction"] == "asc"))
    return found


def hides(hits: Iterable[Hit]) -> bool:
    """Whether the details of some hit hide a sort value."""
    shapes = set(map(tuple, [hit.get(DETAILS) or () for hit in hits]))
    return any(name.startswith(_HIDDEN) for shape in shapes for name in shape)


def hidden_rules(hits: Iterable[Hit], rules: Sequence[SortRule | None]) -> dict[str, SortRule]:
    """The sorts whose values some hit hides, by the key that stands for them in its details."""
    found: dict[str, SortRule] = {}
    alike = {tuple(details): details for hit in hits if (details := hit.get(DETAILS))}  # nearly always one
    for details in alike.values():
        if not any(name.startswith(_HIDDEN) for name in details):
            continue
        ordered = sorted(details.items(), key=lambda item: int(item[1]["order"]))
        sorts = [name for name, detail in ordered if "value" in detail]
        found |= {
            name: rule
            for name, rule in zip(sorts, rules, strict=False)
            if rule is not None and name.startswith(_HIDDEN)
        }
    return found


def reveal(
    hits: Iterable[Hit], hidden: Mapping[str, SortRule], documents: Mapping[str, Json], primary_key: str
) -> None:
    """Put the values of the documents into the details of their hits. `documents`: by the text of their key."""
    for hit in hits:
        details = hit.get(DETAILS) or {}
        if not details.keys() & hidden.keys():
            continue
        document = documents.get(str(hit.get(primary_key)), {})
        hit[DETAILS] = {
            hidden[name].name if name in hidden else name: {**detail, "value": sort_value(document, hidden[name])}
            if name in hidden
            else detail
            for name, detail in details.items()
        }


def sort_value(document: Json, rule: SortRule) -> float | str | None:
    """What a node sorts a document by."""
    numbers: list[float] = []
    texts: list[str] = []
    for value in _flat(values_of(dict(document), rule.field)):
        if isinstance(value, bool):
            texts.append("true" if value else "false")
        elif isinstance(value, int | float):
            numbers.append(float(value))
        elif isinstance(value, str):
            texts.append(normalise(value))
    first = min if rule.ascending else max
    if numbers:
        return first(numbers)
    return first(texts) if texts else None


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value

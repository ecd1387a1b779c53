"""Sort values that the nodes hide, read from the documents instead. Pure.

A node shows no sort value of a field that it does not display by this very name. miroir has its nodes display all
sortable attributes; what stays hidden are fields inside of them (`maker.rank` where `maker` is sortable), and whatever
a node hides whose settings are just being changed.

Source: `new/sort.rs` of Meilisearch 1.50. Of several values the first in the order of the sort counts, numbers before
texts, these in the form in which facets are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from miroir_cli.search.rules import ORDERED
from miroir_cli.search.sorting import SortRule, sort_value
from miroir_cli.search.view import DETAILS

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.search.rank import Hit

_GEO = "_geoPoint("
_HIDDEN = "<hidden-rule-"


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
            match = ORDERED.match(text)
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

"""What a client may see of a hit, and how the rest is cut away. Pure.

The nodes are asked for more than the client wants (primary key, position, distinct value) and display more than the
user's `displayedAttributes` allow (whatever the merge has to read). This module takes it away again, with
Meilisearch's own rules for names of nested fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from miroir_cli.model import SHARD_FIELD, Json

FORMATTED = "_formatted"
MATCHES = "_matchesPosition"
SCORE = "_rankingScore"
DETAILS = "_rankingScoreDetails"
GEO = "_geo"
GEO_DISTANCE = "_geoDistance"
VECTORS = "_vectors"

ADDED_BY_NODES = (GEO_DISTANCE, VECTORS, FORMATTED, MATCHES, SCORE, DETAILS)
"""Keys of a hit that are not attributes of the document, and therefore not chosen by name."""

_UNSHOWN = {
    (score, details): frozenset({SHARD_FIELD, *(() if score else (SCORE,)), *(() if details else (DETAILS,))})
    for score in (False, True)
    for details in (False, True)
}
"""What is taken away from every hit, by whether its score and the details of that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What of a node's hit a client gets. None for names: everything.

    `attributes` are those of the document, `formatted` those of `_formatted` (empty: no `_formatted` at all),
    `displayed` the user's setting, which decides about `_matchesPosition` and sort values in the details.
    `hidden_rule` is the key of miroir's own ranking rule in the details, if it is there.
    """

    attributes: frozenset[str] | None = None
    formatted: frozenset[str] | None = None
    displayed: frozenset[str] | None = None
    score: bool = False
    details: bool = False
    vectors: bool = False
    hidden_rule: str | None = None
    order: tuple[str, ...] = ()
    """The fields of a hit that have a place of their own, in front of the others, which are in the order of their
    names."""
    cuts: bool = False
    """Whether the nodes may send attributes beyond `attributes`, `formatted` or `displayed`."""


def field_order(settings: Json, primary_key: str) -> tuple[str, ...]:
    """The fields that have a place of their own in a hit: the primary key, then those that the settings list.

    Each node shows the fields of a document in the order in which it saw them first, in whatever document.
    """
    listed = [*(settings.get("searchableAttributes") or ()), *(settings.get("displayedAttributes") or ())]
    return tuple(dict.fromkeys([primary_key, *listed]))


def make_view(
    request: Json,
    displayed: Iterable[str] | None,
    *,
    added: bool,
    hidden_rule: str | None,
    order: tuple[str, ...] = (),
) -> View:
    """The view of a request. `displayed` is the user's setting; `added`: the nodes are asked for more attributes."""
    shown = None if displayed is None or "*" in displayed else frozenset(displayed)
    retrieved = _names(request.get("attributesToRetrieve"))
    attributes = _within(retrieved, shown)
    highlighted = request.get("attributesToHighlight") or ()
    cropped = [_crop_name(name) for name in request.get("attributesToCrop") or ()]
    return View(
        attributes=attributes,
        formatted=_formatted_names([*highlighted, *cropped], attributes, shown),
        displayed=shown,
        score=bool(request.get("showRankingScore")),
        details=bool(request.get("showRankingScoreDetails")),
        vectors=bool(request.get("retrieveVectors")),
        hidden_rule=hidden_rule,
        order=order,
        cuts=added or shown is not None,
    )


def _names(wanted: Sequence[str] | None) -> frozenset[str] | None:
    return None if wanted is None or "*" in wanted else frozenset(wanted)


def _within(names: frozenset[str] | None, shown: frozenset[str] | None) -> frozenset[str] | None:
    """Names are compared whole, as Meilisearch compares them: `dog.name` is not within a displayed `dog`."""
    if names is None or shown is None:
        return shown if names is None else names
    return names & shown


def _crop_name(text: str) -> str:
    """The attribute of `attribute:length`."""
    name, colon, _ = text.rpartition(":")
    return name if colon else text


def _formatted_names(
    formatted: Sequence[str], attributes: frozenset[str] | None, shown: frozenset[str] | None
) -> frozenset[str] | None:
    """Meilisearch formats nothing when no attribute to format is displayed, else also shows those to retrieve."""
    if not formatted:
        return frozenset()
    chosen = _within(_names(formatted), shown)
    if chosen is None or attributes is None:
        return None if chosen is None or chosen else frozenset()
    return chosen | attributes if chosen else frozenset()


def show(hit: dict[str, Any], view: View) -> dict[str, Any]:
    """A node's hit as the client sees it. The hit may be changed in place."""
    if FORMATTED in hit:
        _show_formatted(hit, view)
    if MATCHES in hit:
        hit[MATCHES] = _show_matches(hit[MATCHES], view)
    if view.details and DETAILS in hit:
        hit[DETAILS] = show_details(hit[DETAILS], view)
    fields = _cut(hit, view.attributes) if view.cuts and view.attributes is not None else hit
    return {name: fields[name] for name in _shown(tuple(fields), view.order, _UNSHOWN[view.score, view.details])}


@lru_cache(maxsize=512)
def _shown(sent: tuple[str, ...], order: tuple[str, ...], unshown: frozenset[str]) -> tuple[str, ...]:
    """Fields of a document in one order, whichever node sent them; what nodes add to it stays behind.

    Remembered: the documents of an index have few shapes.
    """
    places = {name: place for place, name in enumerate(order)}
    names = [name for name in sent if name not in unshown]
    own = [name for name in names if name not in ADDED_BY_NODES]
    own.sort(key=lambda name: (places.get(name, len(places)), name))
    return (*own, *(name for name in names if name in ADDED_BY_NODES))


def _cut(hit: dict[str, Any], attributes: frozenset[str]) -> dict[str, Any]:
    kept = select({name: value for name, value in hit.items() if name not in ADDED_BY_NODES}, attributes)
    for name in ADDED_BY_NODES:
        if name in hit and (name != GEO_DISTANCE or _has_point(kept.get(GEO))):
            kept[name] = hit[name]
    return kept


def _has_point(geo: Any) -> bool:
    return isinstance(geo, dict) and "lat" in geo and "lng" in geo


def _show_formatted(hit: dict[str, Any], view: View) -> None:
    formatted = hit[FORMATTED]
    formatted.pop(SHARD_FIELD, None)
    if view.cuts and view.formatted is not None:
        formatted = select(formatted, view.formatted)
    if formatted:
        hit[FORMATTED] = {name: formatted[name] for name in _shown(tuple(formatted), view.order, frozenset())}
    else:
        del hit[FORMATTED]


def _show_matches(matches: dict[str, Any], view: View) -> dict[str, Any]:
    return {
        name: bounds
        for name, bounds in matches.items()
        if name != SHARD_FIELD
        and (view.displayed is None or any(_within_name(name, shown) for shown in view.displayed))
    }


def _within_name(name: str, other: str) -> bool:
    """Whether one is the other or a field inside of it."""
    return name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.")


def show_details(details: dict[str, Any], view: View) -> dict[str, Any]:
    """Score details without miroir's own rule; sort values of fields that are not displayed are masked."""
    shown: dict[str, Any] = {}
    for name, detail in details.items():
        if name == view.hidden_rule:
            continue
        if view.displayed is not None and _sorted_field(name, detail) not in (None, *view.displayed):
            order = detail["order"]
            shown[f"<hidden-rule-{order}>"] = {"order": order, "value": "<hidden>"}
        else:
            shown[name] = detail
    return shown


def _sorted_field(name: str, detail: Any) -> str | None:
    """The field of a sort rule in the details; None for every other rule, position included."""
    if "value" not in detail or "distance" in detail or name.startswith("<hidden-rule-"):
        return None
    return name.rpartition(":")[0]


def select(document: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The named fields of a document, nested ones by dotted names, as Meilisearch selects them.

    An inner name keeps its object (or the objects of its array) with that field alone.
    """
    chosen = frozenset(names)
    if not any("." in name for name in chosen):
        return {key: value for key, value in document.items() if key in chosen}
    return _select(document, chosen)


def _select(document: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in document.items():
        if key in names and "." not in key:
            kept[key] = value
            continue
        inner = frozenset(name[len(key) + 1 :] for name in names if name.startswith(f"{key}."))
        if not inner:
            if key in names:
                kept[key] = value
        elif isinstance(value, dict):
            kept[key] = _select(value, inner)
        elif isinstance(value, list):
            kept[key] = _select_each(value, inner)
    return kept


def _select_each(values: list[Any], names: frozenset[str]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if isinstance(value, list):
            kept.append(_select_each(value, names))
        elif isinstance(value, dict) and (selected := _select(value, names)):
            kept.append(selected)
    return kept


def values_of(document: dict[str, Any], name: str) -> list[Any]:
    """All leaf values of a field, through nested objects and arrays, in the order of the document."""
    found: list[Any] = []
    if name in document:
        value = document[name]
        found.extend(value if isinstance(value, list) else [value])
    for position, letter in enumerate(name):
        if letter == ".":
            inner = document.get(name[:position])
            for part in inner if isinstance(inner, list) else [inner]:
                if isinstance(part, dict):
                    found.extend(values_of(part, name[position + 1 :]))
    return found

"""Search results as people read them: the columns that say most, matches marked, facets and totals below."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from miroir_cli.cli.failure import one_line
from miroir_cli.cli.prose import terminal_width
from miroir_cli.cli.table import Cell, Column

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console

MATCH_BEGINS: Final = "\x02"
MATCH_ENDS: Final = "\x03"
"""Around matches in what the nodes format for a table: characters that no document shows."""

MOST_COLUMNS: Final = 7
FEWEST_COLUMNS: Final = 3
ROOM_FOR_ONE: Final = 20
"""Cells of a terminal's width for one column: a narrow one shows fewer fields, not slices of all."""

LONGEST_CELL: Final = 200
"""Characters of a text that a terminal gets at most."""

LEAST_CELL: Final = 14
"""Cells that a field has at least, or it is left out."""

MOST_NAMES: Final = 8
FACET_VALUES: Final = 10


def highlight_for_table(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request, with matches marked for `show_hits`, unless the person asked for marks of their own."""
    if "highlightPreTag" in request or "highlightPostTag" in request or not request.get("q"):
        return dict(request)
    return {
        **request,
        "attributesToHighlight": request.get("attributesToHighlight") or ["*"],
        "highlightPreTag": MATCH_BEGINS,
        "highlightPostTag": MATCH_ENDS,
    }


def show_hits(console: Console, body: Mapping[str, Any], *, primary_key: str, attributes: Sequence[str] | None) -> None:
    """Print a search's body as a table with its facets and totals."""
    show_documents(console, body["hits"], primary_key=primary_key, attributes=attributes)
    if body.get("facetDistribution"):
        console.print()
    _show_facets(console, body)
    console.print(summary_of(body))


def show_documents(
    console: Console, hits: list[dict[str, Any]], *, primary_key: str, attributes: Sequence[str] | None
) -> None:
    """Print documents as a table of the fields that say most, and the names of the others; in a pipe of all."""
    names = columns_of(hits, primary_key=primary_key, attributes=attributes)
    if not names:
        return
    columns = [
        Column(
            name=_TITLES.get(name, name),
            right=_is_number(hits, name),
            keep=name == primary_key or _is_number(hits, name),
            optional=place > 1,
            least=LEAST_CELL,
        )
        for place, name in enumerate(names)
    ]
    hidden = console.table(columns, [[cell_of(hit, name) for name in names] for hit in hits], told=False)
    _tell_left(console, hits, names, hidden)


def _tell_left(
    console: Console, hits: Sequence[Mapping[str, Any]], names: Sequence[str], hidden: Sequence[str]
) -> None:
    """Name the fields that a table does not show."""
    left = [*hidden, *(name for name in _fields(hits) if name not in (*names, "_federation"))]
    if left:
        more = f" and {len(left) - MOST_NAMES:,} more" if len(left) > MOST_NAMES else ""
        console.print(f"not shown: {', '.join(left[:MOST_NAMES])}{more} (`--json` has all fields)")


def show_many(console: Console, body: Mapping[str, Any], *, primary_keys: Mapping[str, str]) -> None:
    """Print a multi-search's body: its results one after the other, or its one list with the index of each hit."""
    for place, result in enumerate(body.get("results", ())):
        if place:
            console.print()
        console.print(f"{result['indexUid']}: {result['query'] or 'all documents'}")
        show_hits(console, result, primary_key=primary_keys[result["indexUid"]], attributes=None)
    if "results" not in body:
        _show_federation(console, body)


def _show_federation(console: Console, body: Mapping[str, Any]) -> None:
    hits: list[dict[str, Any]] = body["hits"]
    names = columns_of(hits, primary_key="", attributes=None)
    if hits:
        columns = [
            Column(name="index", keep=True),
            Column(name="query", right=True, optional=True),
            *(
                Column(name=_TITLES.get(name, name), right=_is_number(hits, name), optional=True, least=LEAST_CELL)
                for name in names
            ),
        ]
        rows = [
            [
                hit["_federation"]["indexUid"],
                hit["_federation"]["queriesPosition"],
                *(cell_of(hit, name) for name in names),
            ]
            for hit in hits
        ]
        _tell_left(console, hits, names, console.table(columns, rows, told=False))
    for uid, facets in body.get("facetsByIndex", {}).items():
        console.print(f"{uid}:")
        _show_facets(console, {"facetDistribution": facets["distribution"], "facetStats": facets["stats"]})
    _show_facets(console, body)
    console.print(summary_of(body))


def _show_facets(console: Console, body: Mapping[str, Any]) -> None:
    for facet, counts in (body.get("facetDistribution") or {}).items():
        _show_facet(console, facet, counts, (body.get("facetStats") or {}).get(facet))


_TITLES: Final = {"_geoDistance": "metres", "_rankingScore": "score"}


def columns_of(hits: Sequence[Mapping[str, Any]], *, primary_key: str, attributes: Sequence[str] | None) -> list[str]:
    """The fields to show: the ones asked for, else the key and then the first ones that fit in a cell."""
    seen = _fields(hits)
    extra = [name for name in ("_geoDistance", "_rankingScore") if name in seen]
    if attributes and "*" not in attributes:
        return [*(name for name in attributes if name in seen), *extra]
    plain = [name for name in seen if not name.startswith("_") and name != primary_key]
    first = [primary_key] if primary_key in seen else []
    width = terminal_width()
    if width is None:
        return [*first, *plain, *extra]
    flat = [name for name in plain if not any(_is_nested(hit.get(name)) for hit in hits)]
    most = max(FEWEST_COLUMNS, min(MOST_COLUMNS, width // ROOM_FOR_ONE))
    return [*first, *flat[: most - len(first)], *extra]


def _fields(hits: Sequence[Mapping[str, Any]]) -> dict[str, None]:
    """The fields of the documents in the order in which they come."""
    return dict.fromkeys(name for hit in hits for name in hit if name not in ("_formatted", "_matchesPosition"))


def cell_of(hit: Mapping[str, Any], name: str) -> Cell:
    """A field of a hit, its matches in bold."""
    value = (hit.get("_formatted") or {}).get(name) if isinstance(hit.get(name), str | list) else None
    value = hit.get(name) if value is None else value
    if isinstance(value, bool) or value is None:
        return None if value is None else "yes" if value else "no"
    if isinstance(value, int | float):
        return Text(f"{value:.4f}" if name == "_rankingScore" else str(value))
    if _is_nested(value):
        return json.dumps(value, ensure_ascii=False)
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return marked(text)


def marked(text: str) -> Text:
    """Text with what stands between the marks in bold, on one line; as much of it as a terminal has room for."""
    shown = Text()
    line = " ".join(text.split())
    if terminal_width() is None:
        return Text(one_line(line.replace(MATCH_BEGINS, "").replace(MATCH_ENDS, "")))
    for place, part in enumerate(line.replace(MATCH_ENDS, MATCH_BEGINS).split(MATCH_BEGINS)):
        clean = "".join(letter for letter in part if letter.isprintable())
        shown.append(clean, style="bold yellow" if place % 2 else None)
    if len(shown) > LONGEST_CELL:
        shown.truncate(LONGEST_CELL, overflow="ellipsis")
    return shown


def summary_of(body: Mapping[str, Any]) -> str:
    """`12 of 340 hits, 5 ms`, as exact as the body is."""
    shown = len(body["hits"])
    milliseconds = body.get("processingTimeMs", 0)
    if "totalHits" in body:
        pages = f", page {body['page']:,} of {body['totalPages']:,}"
        return f"{shown:,} of {body['totalHits']:,} hits{pages}, {milliseconds:,} ms"
    offset = body.get("offset", 0)
    after = f" after the first {offset:,}" if offset else ""
    return f"{shown:,} of {body.get('estimatedTotalHits', shown):,} hits{after}, {milliseconds:,} ms"


def _show_facet(console: Console, facet: str, counts: Mapping[str, int], stats: Mapping[str, float] | None) -> None:
    rows: list[tuple[Cell, Cell]] = [(value, count) for value, count in list(counts.items())[:FACET_VALUES]]
    if rows:
        console.table([facet, Column(name="hits", right=True, keep=True)], rows)
    if len(counts) > FACET_VALUES:
        console.print(f"... and {len(counts) - FACET_VALUES:,} more values (see them all with `--json`)")
    if stats is not None:
        console.print(f"{facet}: from {stats['min']:g} to {stats['max']:g}")
    console.print()


def _is_nested(value: Any) -> bool:
    if isinstance(value, dict):
        return True
    return isinstance(value, list) and any(isinstance(part, dict | list) for part in value)


def _is_number(hits: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [hit[name] for hit in hits if hit.get(name) is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

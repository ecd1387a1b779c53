from __future__ import annotations

import pytest

from miroir_cli.cli.hits import MATCH_BEGINS, MATCH_ENDS, columns_of, highlight_for_table, marked, summary_of
from miroir_cli.cli.search import names_of, request_of, spans

HITS = [
    {"title": "a", "id": 1, "meta": {"x": 1}, "year": 2000, "body": "b", "tags": ["x"], "_formatted": {}},
    {"title": "b", "id": 2, "price": 3, "_geoDistance": 40, "_geo": {"lat": 1, "lng": 2}},
]


def test_the_key_comes_first_and_what_does_not_fit_a_cell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = columns_of(HITS, primary_key="id", attributes=None)
    assert found == ["id", "title", "year", "body", "tags", "price", "_geoDistance"]


def test_a_narrow_terminal_shows_fewer_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert columns_of(HITS, primary_key="id", attributes=None) == ["id", "title", "year", "_geoDistance"]


def test_fields_asked_for_are_shown_in_their_order() -> None:
    assert columns_of(HITS, primary_key="id", attributes=["year", "none", "title"]) == ["year", "title", "_geoDistance"]


def test_matches_are_marked_and_control_characters_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = marked(f"a {MATCH_BEGINS}ri\x1bver{MATCH_ENDS}\nbank")
    assert text.plain == "a river bank"
    assert [(span.start, span.end) for span in text.spans] == [(2, 7)]


def test_marks_are_asked_for_only_where_there_is_something_to_mark() -> None:
    assert "highlightPreTag" in highlight_for_table({"q": "sea"})
    assert highlight_for_table({"q": "sea", "highlightPreTag": "*"}) == {"q": "sea", "highlightPreTag": "*"}
    assert highlight_for_table({}) == {}


def test_the_summary_says_how_much_of_how_much() -> None:
    body = {"hits": [1, 2], "processingTimeMs": 5}
    assert summary_of({**body, "estimatedTotalHits": 3400, "offset": 0}) == "2 of 3,400 hits, 5 ms"
    assert summary_of({**body, "estimatedTotalHits": 34, "offset": 20}) == "2 of 34 hits after the first 20, 5 ms"
    assert summary_of({**body, "totalHits": 9, "page": 2, "totalPages": 5}) == "2 of 9 hits, page 2 of 5, 5 ms"


def test_options_go_on_top_of_the_body() -> None:
    assert request_of({"q": "a", "limit": 5}, q="b", limit=None, sort=["x:asc"]) == {
        "q": "b",
        "limit": 5,
        "sort": ["x:asc"],
    }
    assert names_of(" a, b,,c ") == ["a", "b", "c"]
    assert names_of(None) is None


def test_shards_are_named_in_spans() -> None:
    assert spans([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert spans([]) == ""

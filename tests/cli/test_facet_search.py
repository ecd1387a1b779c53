"""`miroir facet-search`."""

from __future__ import annotations

from tests.conftest import Miroir


def test_values_are_listed_with_their_counts(stocked: Miroir) -> None:
    assert stocked("index", "settings", "set", "books", 'filterableAttributes=["title"]').status == 0
    only = ["--filter", 'title IN ["book 59", "book 5"]']
    done = stocked("facet-search", "books", "title", "book", *only)
    assert done.status == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["title", "documents"]
    assert lines[-2:] == [["Book", "5", "1"], ["Book", "59", "1"]]
    only = ["--filter", "title = 'book 59'", "--words", "book", "--exhaustive"]
    found = stocked("facet-search", "books", "title", "book 59", *only, "--json").json
    assert {key: found[key] for key in ("facetHits", "facetQuery")} == {
        "facetHits": [{"value": "Book 59", "count": 1}],
        "facetQuery": "book 59",
    }


def test_an_attribute_that_is_not_a_facet_is_refused_in_meilisearchs_words(stocked: Miroir) -> None:
    done = stocked("facet-search", "books", "year")
    assert done.status == 2
    assert "Attribute `year` is not facet-searchable." in done.err

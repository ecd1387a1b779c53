from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.search.window import Window, make_window


def window(request: dict[str, Any], **settings: Any) -> Window:
    found = make_window(request, settings)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("request_", "skip", "take", "needed"),
    [
        ({}, 0, 20, 20),
        ({"limit": 5, "offset": 3}, 3, 5, 8),
        ({"limit": 5, "offset": 998}, 998, 5, 1000),
        ({"limit": 0}, 0, 0, 0),
        ({"limit": 2**64 - 1, "offset": 1}, 1, 2**64 - 1, 0),
        ({"page": 0}, 0, 0, 0),
        ({"page": 3}, 40, 20, 60),
        ({"hitsPerPage": 7}, 0, 7, 7),
        ({"hitsPerPage": 0}, 0, 0, 0),
        ({"page": 2, "hitsPerPage": 7, "limit": 1, "offset": 99}, 7, 7, 14),
        ({"page": None, "hitsPerPage": None, "limit": 4}, 0, 4, 4),
    ],
)
def test_a_window_needs_the_hits_up_to_its_end(request_: dict[str, Any], skip: int, take: int, needed: int) -> None:
    found = window(request_)
    assert (found.skip, found.take, found.needed) == (skip, take, needed)


def test_no_more_hits_are_asked_than_the_index_gives() -> None:
    found = window({"limit": 50, "offset": 80}, pagination={"maxTotalHits": 100})
    assert found.needed == 100
    assert found.for_nodes(more=20) == {"offset": 0, "limit": 120}


def test_pages_are_counted_exactly() -> None:
    found = window({"page": 2, "hitsPerPage": 10})
    assert found.for_nodes(more=0) == {"page": 1, "hitsPerPage": 20}
    assert found.totals(41) == {"hitsPerPage": 10, "page": 2, "totalPages": 5, "totalHits": 41}
    assert window({"hitsPerPage": 0}).totals(41) == {"hitsPerPage": 0, "page": 1, "totalPages": 0, "totalHits": 41}


@pytest.mark.parametrize(
    ("request_", "everything"),
    [
        ({"page": 1, "hitsPerPage": 30}, True),
        ({"page": 2, "hitsPerPage": 29}, True),
        ({"page": 2, "hitsPerPage": 30}, False),
        ({"page": 1, "hitsPerPage": 100}, False),
        ({"page": 9, "hitsPerPage": 30}, False),
        ({"page": 0, "hitsPerPage": 100}, True),
        ({"limit": 5}, False),
    ],
)
def test_pages_up_to_the_last_result_are_not_counted_to_the_end(request_: dict[str, Any], everything: bool) -> None:
    assert window(request_, pagination={"maxTotalHits": 60}).counts_everything is everything


def test_offset_and_limit_come_back_as_they_were_asked() -> None:
    assert window({"limit": 5000}).totals(3500) == {"limit": 5000, "offset": 0, "estimatedTotalHits": 3500}


@pytest.mark.parametrize("wrong", [{"limit": -1}, {"limit": "5"}, {"offset": 1.5}, {"page": True}, {"hitsPerPage": []}])
def test_what_is_no_number_is_left_to_a_node(wrong: dict[str, Any]) -> None:
    assert make_window(wrong, {}) is None

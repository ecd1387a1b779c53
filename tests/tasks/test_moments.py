"""Moments and durations as Meilisearch writes and reads them."""

from __future__ import annotations

import pytest

from miroir_cli.tasks.moments import read_moment, show_duration, show_moment


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_723_107_673_348, "2024-08-08T09:01:13.348Z"),
        (1_723_107_673_300, "2024-08-08T09:01:13.300Z"),
        (1_723_107_673_008, "2024-08-08T09:01:13.008Z"),
    ],
)
def test_a_moment_always_has_a_fraction(moment: int, shown: str) -> None:
    assert show_moment(moment) == shown
    assert read_moment(shown) == moment


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(0, "PT0S"), (9, "PT0.009S"), (2000, "PT2S"), (86_400_000, "P1D"), (86_461_500, "P1DT61.500S"), (-1, None)],
)
def test_a_duration_is_days_and_seconds(milliseconds: int, shown: str | None) -> None:
    assert show_duration(1000, 1000 + milliseconds) == shown


def test_a_task_that_has_not_ended_has_no_duration() -> None:
    assert show_duration(1, None) is None
    assert show_duration(None, 1) is None


@pytest.mark.parametrize(
    ("text", "after", "moment"),
    [
        ("1970-01-02", False, 86_400_000),
        ("1970-01-02", True, 2 * 86_400_000),
        ("1970-01-01T01:00:00+01:00", False, 0),
        ("1970-01-01T00:00:00.0005Z", False, 0.5),
        ("1970-01-01t00:00:01z", True, 1000),
    ],
)
def test_dates_and_times_are_read(text: str, after: bool, moment: float) -> None:
    assert read_moment(text, after=after) == moment


@pytest.mark.parametrize("text", ["yesterday", "1970-02-30", "1970-1-1", "1970-01-01T00:00:00", "1970-01-01T25:00:00Z"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert read_moment(text) is None

"""Windows of time and lengths of time: the arithmetic, with literal times."""

from __future__ import annotations

from datetime import datetime

import pytest

from miroir_cli.errors import UsageError
from miroir_cli.migration.window import parse_duration, parse_window


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("window", "now", "closes"),
    [
        ("01:00-05:00", "2024-03-10 00:59:59", None),
        ("01:00-05:00", "2024-03-10 01:00:00", "2024-03-10 05:00:00"),
        ("01:00-05:00", "2024-03-10 04:59:59", "2024-03-10 05:00:00"),
        ("01:00-05:00", "2024-03-10 05:00:00", None),
        ("22:00-04:00", "2024-02-28 21:59:59", None),
        ("22:00-04:00", "2024-02-28 22:00:00", "2024-02-29 04:00:00"),
        ("22:00-04:00", "2024-02-29 00:00:00", "2024-02-29 04:00:00"),
        ("22:00-04:00", "2024-02-29 03:59:59", "2024-02-29 04:00:00"),
        ("22:00-04:00", "2024-02-29 04:00:00", None),
        ("22:00-00:00", "2024-12-31 23:00:00", "2025-01-01 00:00:00"),
        ("00:00-23:59", "2024-12-31 23:58:59", "2024-12-31 23:59:00"),
        ("5:00-4:59", "2024-12-31 04:59:00", None),
        ("5:00-4:59", "2024-12-31 04:58:00", "2024-12-31 04:59:00"),
    ],
)
def test_a_window_is_open_from_its_first_moment_until_before_its_last(
    window: str, now: str, closes: str | None
) -> None:
    assert parse_window(window).closing(at(now)) == (None if closes is None else at(closes))


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("01:00-05:00", "2024-03-10 00:59:00", "2024-03-10 01:00:00"),
        ("01:00-05:00", "2024-03-10 05:00:00", "2024-03-11 01:00:00"),
        ("22:00-04:00", "2024-02-29 04:00:00", "2024-02-29 22:00:00"),
        ("22:00-04:00", "2024-12-31 23:00:00", "2025-01-01 22:00:00"),
    ],
)
def test_a_closed_window_says_when_it_opens(window: str, now: str, opens: str) -> None:
    assert parse_window(window).opening(at(now)) == at(opens)


@pytest.mark.parametrize(
    "text", ["", "1-5", "01:00", "01:00-", "24:00-05:00", "01:60-02:00", "a:bb-c:dd", "01:00-01:00"]
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"`--window` is `{text}`, expected"):
        parse_window(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1h1m1s", 3661), (" 5m ", 300)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "2", "2d", "-1h", "h", "1m1h"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"`--max-duration` is `{text}`, expected a length of time"):
        parse_duration(text)

"""Which backups stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.backup.retention import Dated, Rules, parse_age, plan
from miroir_cli.errors import UsageError

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = 24 * 3_600_000


def backup(moment: datetime, *, complete: bool = True) -> Dated:
    year, week, _ = moment.isocalendar()
    return Dated(
        id=f"{moment:%Y%m%dT%H%M%SZ}",
        at=int(moment.timestamp() * 1000),
        day=f"{moment:%Y-%m-%d}",
        week=f"{year}-{week}",
        month=f"{moment:%Y-%m}",
        complete=complete,
    )


def kept(backups: list[Dated], rules: Rules) -> list[str]:
    found = plan(backups, rules, now=int(NOW.timestamp() * 1000), resumable=DAY)
    return [each.backup.id[:8] for each in found if each.reasons]


def days(*ago: int) -> list[Dated]:
    return [backup(NOW - timedelta(days=number, hours=1)) for number in ago]


def test_days_without_a_backup_do_not_count() -> None:
    assert kept(days(0, 1, 5, 6, 9), Rules(daily=4)) == ["20261127", "20261126", "20261122", "20261121"]


def test_of_a_week_and_a_month_the_newest_stays() -> None:
    assert kept(days(*range(40)), Rules(weekly=3)) == ["20261127", "20261122", "20261115"]
    assert kept(days(*range(70)), Rules(monthly=3)) == ["20261127", "20261031", "20260930"]


def test_backups_of_other_indexes_do_not_take_the_place_of_a_whole_one() -> None:
    """Nor do those of another cluster in the same place."""
    whole = days(1, 2)
    one = [replace(each, series="books") for each in days(0, 3)]
    assert kept([*whole, *one], Rules(last=1)) == ["20261127", "20261126"]
    unfinished = replace(days(4)[0], series="films", complete=False)
    found = plan([*whole, unfinished], Rules(last=1), now=unfinished.at + DAY, resumable=DAY)
    assert found[-1].reasons == ("unfinished",)


def test_rules_add_up() -> None:
    found = kept(days(0, 1, 2, 3, 10, 40), Rules(last=2, monthly=2, within=3 * DAY))
    assert found == ["20261127", "20261126", "20261125", "20261018"]


def test_the_newest_complete_one_stays_whatever_the_rules_are() -> None:
    assert kept(days(100, 200), Rules(within=DAY)) == ["20260819"]


def test_an_unfinished_one_stays_as_long_as_it_is_gone_on_with() -> None:
    young, old = backup(NOW - timedelta(hours=1), complete=False), backup(NOW - timedelta(days=2), complete=False)
    assert kept([*days(3), young, old], Rules(last=1)) == ["20261127", "20261124"]
    assert kept([*days(0), backup(NOW - timedelta(hours=2), complete=False)], Rules(last=1)) == ["20261127"]


def test_one_from_the_future_stays_and_takes_nobodys_place() -> None:
    ahead = backup(NOW + timedelta(days=2))
    assert kept([*days(0, 1), ahead], Rules(last=1)) == ["20261129", "20261127"]
    assert kept([backup(NOW + timedelta(minutes=2)), *days(1)], Rules(last=1)) == ["20261127"]  # clocks differ


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), unique=True, max_size=30), st.integers(1, 5))
def test_never_more_than_the_rules_keep_and_never_nothing(chosen: list[tuple[int, bool]], count: int) -> None:
    backups = [backup(NOW - timedelta(hours=7 * ago + 1), complete=complete) for ago, complete in chosen]
    found = plan(backups, Rules(daily=count), now=int(NOW.timestamp() * 1000), resumable=0)
    complete = [each for each in found if each.backup.complete]
    staying = [each for each in complete if each.reasons]
    assert len(staying) <= count
    assert bool(staying) == bool(complete)
    assert len({each.backup.day for each in staying}) == len(staying)


@pytest.mark.parametrize(("text", "days"), [("36h", 1.5), ("30d", 30), ("8w", 56), ("2m", 60), ("1y", 365)])
def test_ages(text: str, days: float) -> None:
    assert parse_age(text) == days * DAY


@pytest.mark.parametrize("text", ["", "0d", "5", "d", "3 days", "-1d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--keep-within"):
        parse_age(text)

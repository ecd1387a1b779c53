"""Names that are not known, and the question whether another one was meant, as a Meilisearch asks it."""

from __future__ import annotations

import time

import pytest

from miroir_cli.errors import ApiError
from miroir_cli.proxy.parameters import Parameter, flag, read_parameters, several, whole
from miroir_cli.proxy.spelling import did_you_mean, distance

KNOWN = ("limit", "from", "uids", "statuses", "indexUids", "canceledBy", "types", "beforeEnqueuedAt")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("limt", "limit"),
        ("Limit", "limit"),
        ("xlimitx", None),
        ("uid", None),
        ("type", "types"),
        ("statuse", "statuses"),
        ("index_uids", "indexUids"),
        ("cancelBy", "canceledBy"),
        ("beforeEnqueued", "beforeEnqueuedAt"),
        ("foo", None),
    ],
)
def test_the_likely_name_is_told(given: str, meant: str | None) -> None:
    assert did_you_mean(given, KNOWN) == (f"did you mean `{meant}`? " if meant else "")


@pytest.mark.parametrize(
    ("left", "right", "edits"), [("", "ab", 2), ("ab", "ba", 1), ("ca", "abc", 2), ("abc", "abc", 0)]
)
def test_letters_may_change_places(left: str, right: str, edits: int) -> None:
    assert distance(left, right) == edits


NUMBERS = {"uids": Parameter(several(whole), "invalid_task_uids"), "reverse": Parameter(flag, "invalid_task_reverse")}


def test_lists_are_read_and_a_star_is_anything() -> None:
    assert read_parameters({"uids": "1,+2", "reverse": "true"}, NUMBERS) == {"uids": (1, 2), "reverse": True}
    assert read_parameters({"uids": "1,*"}, NUMBERS) == {"uids": None}
    assert read_parameters({"uids": ""}, NUMBERS) == {"uids": ()}


@pytest.mark.parametrize(
    ("given", "place"), [("x", "uids"), ("1,x", "uids[1]"), ("4294967296", "uids"), ("-1", "uids")]
)
def test_the_place_of_what_cannot_be_read_is_told(given: str, place: str) -> None:
    with pytest.raises(ApiError, match="could not parse") as refused:
        read_parameters({"uids": given}, NUMBERS)
    assert f"`{place}`" in refused.value.message and refused.value.api_code == "invalid_task_uids"


def test_a_name_of_any_length_is_no_work() -> None:
    started = time.monotonic()
    assert did_you_mean("A" * 1_000_000, KNOWN) == ""
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("given", ["4294967296", "9" * 5000, "\u00b2", "-1", "1_0", ""])
def test_a_number_that_is_too_large_is_none(given: str) -> None:
    with pytest.raises(ApiError, match="as a positive integer"):
        read_parameters({"limit": given}, {"limit": Parameter(whole, "invalid_task_limit")})


def test_zeros_in_front_do_not_count() -> None:
    known = {"limit": Parameter(whole, "invalid_task_limit")}
    assert read_parameters({"limit": "+" + "0" * 5000 + "7"}, known) == {"limit": 7}

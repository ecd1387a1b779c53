"""The error tree is a contract: codes, exit statuses, and the drawing at the top of its module."""

from __future__ import annotations

import inspect
import re

import pytest

from miroir_cli import errors

TREE = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.MiroirError)]

EXIT_STATUSES = {
    "UsageError": 2, "PartialError": 3, "NotFound": 4, "TemporaryError": 5, "ConfigurationError": 6, "Locked": 8,
    "ChangesPending": 9, "AuthenticationFailed": 12, "DifferencesFound": 13, "Refused": 14, "Interrupted": 130,
}  # fmt: skip


def test_the_drawing_shows_every_error_with_its_exit_status() -> None:
    drawn = dict(re.findall(r"── (\w+) +(\d+)", errors.__doc__ or ""))
    assert drawn == {kind.__name__: str(kind.exit_status) for kind in TREE if kind is not errors.MiroirError}


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_has_the_exit_status_of_its_branch(kind: type[errors.MiroirError]) -> None:
    branch = next((base.__name__ for base in kind.__mro__ if base.__name__ in EXIT_STATUSES), None)
    assert kind.exit_status == (EXIT_STATUSES[branch] if branch else {"AlreadyExists": 2}.get(kind.__name__, 1))
    assert 400 <= kind.http_status < 600
    assert re.fullmatch(r"[a-z_]+", kind.code)


def test_codes_are_told_apart() -> None:
    codes = [kind.code for kind in TREE]
    assert len(codes) == len(set(codes))


def test_what_helps_to_repeat_is_temporary_or_locked() -> None:
    assert {kind for kind in TREE if kind.retry_helps} == {
        kind for kind in TREE if issubclass(kind, errors.TemporaryError | errors.Locked)
    }


def test_an_error_carries_its_message_and_its_hint() -> None:
    error = errors.NodeUnavailable("node `n2` did not answer in time", node="n2", sent=True)
    assert str(error) == error.message == "node `n2` did not answer in time"
    assert error.hint == "run `miroir status` to see which nodes answer"


def test_of_several_errors_one_that_nobody_foresaw_counts() -> None:
    known, strange = errors.IndexNotFound("gone"), KeyError("x")
    assert errors.first_of(known) is known
    assert errors.first_of(ExceptionGroup("all", [known, ExceptionGroup("inner", [known])])) is known
    assert errors.first_of(ExceptionGroup("all", [known, ExceptionGroup("inner", [strange])])) is strange

"""Parameters of a URL with their types, refused in Meilisearch's words. Pure.

For requests that cannot be put to a node to hear what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from miroir_cli.errors import ApiError
from miroir_cli.indexes.catalog import UID
from miroir_cli.proxy.spelling import refuse_unknown
from miroir_cli.tasks.moments import read_moment

LARGEST: Final = 2**32 - 1
LONGEST: Final = len(str(LARGEST))


class Unreadable(Exception):
    """Why a value cannot be read. `at`: its place in a list of several."""

    def __init__(self, reason: str, at: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


@dataclass(frozen=True, slots=True)
class Parameter:
    """How a parameter is read, and the code of the error when that fails. `bare`: the message is the reason alone."""

    read: Callable[[str], Any]
    code: str
    bare: bool = False


def read_parameters(given: Mapping[str, str], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The parameters that were given, by their types. Raises `bad_request` and each parameter's own error."""
    refuse_unknown(given, tuple(known), what="parameter")
    found: dict[str, Any] = {}
    for name, text in given.items():
        parameter = known[name]
        try:
            found[name] = parameter.read(text)
        except Unreadable as error:
            if parameter.bare:
                raise ApiError(parameter.code, error.reason) from None
            place = name if error.at is None else f"{name}[{error.at}]"
            raise ApiError(parameter.code, f"Invalid value in parameter `{place}`: {error.reason}") from None
    return found


def text(given: str) -> str:
    return given


def whole(given: str) -> int:
    number = small_number(given)
    if number is None:
        raise Unreadable(f"could not parse `{given}` as a positive integer")
    return number


def small_number(given: str) -> int | None:
    """A whole number of 32 bits; None for anything else."""
    digits = digits_of(given)
    return int(digits) if len(digits) <= LONGEST and digits and int(digits) <= LARGEST else None


def digits_of(given: str) -> str:
    """The digits of a whole number as Rust reads one, zeros at its beginning left out; none for anything else."""
    digits = given.removeprefix("+")
    return (digits.lstrip("0") or "0") if digits.isascii() and digits.isdigit() else ""


def flag(given: str) -> bool:
    if given not in ("true", "false"):
        raise Unreadable(f"could not parse `{given}` as a boolean, expected either `true` or `false`")
    return given == "true"


def several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...] | None]:
    """A list with commas; None (anything) when one of them is a star."""

    def read_all(given: str) -> tuple[Any, ...] | None:
        parts = [part for part in given.split(",") if part]
        found = []
        for place, part in enumerate(parts):
            if part == "*":
                continue
            try:
                found.append(read(part))
            except Unreadable as error:
                raise Unreadable(error.reason, place if len(parts) > 1 else None) from None
        return None if "*" in parts else tuple(found)

    return read_all


def one_of(names: tuple[str, ...], *, what: str, plural: str) -> Callable[[str], str]:
    """One of these names, whatever its case."""
    by_lower = {name.lower(): name for name in names}

    def read(given: str) -> str:
        found = by_lower.get(given.lower())
        if found is None:
            shown = ", ".join(f"`{name}`" for name in names)
            raise Unreadable(f"`{given}` is not a valid {what}. Available {plural} are {shown}.")
        return found

    return read


def index_uid(given: str) -> str:
    if not UID.fullmatch(given):
        raise Unreadable(bad_uid(given))
    return given


def bad_uid(given: str) -> str:
    return (
        f"`{given}` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric "
        "characters, hyphens (-) and underscores (_), and can not be more than 512 bytes."
    )


def require_uid(given: str) -> str:
    """The uid that a path names, if it can be one."""
    if not UID.fullmatch(given):
        raise ApiError("invalid_index_uid", bad_uid(given))
    return given


def moment(*, after: bool) -> Callable[[str], float | None]:
    """A date, or date and time, in milliseconds; a star stands for any."""

    def read(given: str) -> float | None:
        if given == "*":
            return None
        found = read_moment(given, after=after)
        if found is None:
            raise Unreadable(
                f"`{given}` is an invalid date-time. It should follow the YYYY-MM-DD or RFC 3339 date-time format."
            )
        return found

    return read

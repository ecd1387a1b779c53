"""`did you mean ...?`, as Meilisearch asks it. Pure.

Source: the `deserr` crate, `errors/helpers.rs`: up to five typos, by the length of what was given.
"""

from __future__ import annotations

from collections.abc import Iterable

from miroir_cli.errors import ApiError

_ALLOWED = ((4, 0), (8, 1), (13, 2), (18, 3), (25, 4))


def refuse_unknown(given: Iterable[str], known: tuple[str, ...], *, what: str) -> None:
    """Refuse the first name that is not known, with the likely one if there is one."""
    for name in given:
        if name not in known:
            accepted = ", ".join(f"`{each}`" for each in known)
            raise ApiError(
                "bad_request", f"Unknown {what} `{name}`: {did_you_mean(name, known)}expected one of {accepted}"
            )


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The question with the nearest of the known names, or nothing."""
    length = len(given.encode())
    allowed = next((typos for below, typos in _ALLOWED if length < below), 5)
    alike = [(place, name) for place, name in enumerate(known) if abs(len(name) - len(given)) <= allowed]
    near = [(distance(given, name), place, name) for place, name in alike]
    best = min((each for each in near if each[0] <= allowed), default=None)
    return "" if best is None or not allowed else f"did you mean `{best[2]}`? "


def distance(left: str, right: str) -> int:
    """How many letters to insert, delete, replace or swap with their neighbour; letters between two that were swapped
    may be edited as well (Damerau and Levenshtein, unrestricted)."""
    last_row: dict[str, int] = {}
    largest = len(left) + len(right)
    table = [[largest] * (len(right) + 2) for _ in range(len(left) + 2)]
    for row in range(len(left) + 1):
        table[row + 1][1] = row
    for column in range(len(right) + 1):
        table[1][column + 1] = column
    for row, letter in enumerate(left, 1):
        last_column = 0
        for column, other in enumerate(right, 1):
            swapped_row, swapped_column = last_row.get(other, 0), last_column
            cost = int(letter != other)
            if not cost:
                last_column = column
            table[row + 1][column + 1] = min(
                table[row][column] + cost,
                table[row + 1][column] + 1,
                table[row][column + 1] + 1,
                table[swapped_row][swapped_column] + (row - swapped_row - 1) + 1 + (column - swapped_column - 1),
            )
        last_row[letter] = row
    return table[-1][-1]

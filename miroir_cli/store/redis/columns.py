"""What tasks are asked for by, apart from them: a few characters for each, in columns that are read as a whole. Pure.

A block holds `BLOCK` uids in two strings. Its marks have six characters for each uid: the status, four for the subject
(the index, see `subjects.py`) and the type. Its times have three times thirteen digits. Whatever a query asks for,
the marks of 100,000 tasks are 25 strings, and are looked through with a few operations on all of them at once. Times
are looked at one by one, but only in blocks of which some are within a limit and some are not (`spans.py`).

Numbers are written in characters of seven bits. Characters of zero: there is no such task, or no such time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Self

from miroir_cli.store.redis.spans import LATEST, TIMES, Limit, Spans, kept, limits_of
from miroir_cli.store.tasks import TaskStatus

BLOCK: Final = 4096
STATE: Final = 5
"""Characters of a mark that may change: all but the type."""

MARK: Final = STATE + 1
TIME: Final = len(str(LATEST))

_LETTERS: Final = {status: status.value[0] for status in TaskStatus}
_STATUSES: Final = {letter: status for status, letter in _LETTERS.items()}
_HAVING: Final = {
    "enqueued_at": "".join(letter + letter.upper() for letter in _STATUSES),
    "started_at": "".join(_STATUSES).upper(),
    "finished_at": "".join(letter + letter.upper() for letter, status in _STATUSES.items() if status.final),
}
"""The marks of the tasks that have a time in a column."""

_NEVER: Final = "\0" * TIME
_MOST_TYPES: Final = 127
_SUBJECT: Final = STATE - 1
_MOST_SUBJECTS: Final = 128**_SUBJECT - 1


def place(uid: int) -> tuple[int, int]:
    """The block of a task, and its place there."""
    return divmod(uid, BLOCK)


def status_mark(status: TaskStatus, *, begun: bool) -> str:
    """One letter, a capital one for a task that was begun."""
    return _LETTERS[status].upper() if begun else _LETTERS[status]


def status_of(letter: str) -> TaskStatus:
    return _STATUSES[letter.lower()]


def state_mark(status: TaskStatus, *, begun: bool, subject: int) -> str:
    """How a task is marked, but for its type. `subject`: its number."""
    assert 0 <= subject <= _MOST_SUBJECTS
    return status_mark(status, begun=begun) + "".join(
        chr(subject >> 7 * place & 127) for place in reversed(range(_SUBJECT))
    )


def type_mark(type: int) -> str:
    """The rest of the mark. `type`: its number."""
    assert 0 < type <= _MOST_TYPES
    return chr(type)


def time(moment: int | None) -> str:
    """A time as thirteen characters, in the order of the times."""
    return _NEVER if moment is None else f"{kept(moment):0{TIME}}"


def times_in(text: str, column: str) -> list[int]:
    """All times of a column in the times of a block."""
    found = (text[at : at + TIME] for at in range(TIMES.index(column) * TIME, len(text), TIME * len(TIMES)))
    return [int(each) for each in found if each and each != _NEVER[: len(each)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which tasks, by what is kept of them here; None: all. Without `type`: no task of that one."""

    uids: Collection[int] | None = None
    statuses: Collection[str] | None = None
    begun: bool = False
    types: Collection[int] | None = None
    without: int | None = None
    subjects: Collection[int] | None = None
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)

    @property
    def by_time(self) -> bool:
        return bool(self.before or self.after)

    @property
    def limits(self) -> list[Limit]:
        """Those of the times."""
        return limits_of(self.before, self.after)

    @property
    def is_counted(self) -> bool:
        """Whether at most one thing is asked of tasks, and one by which they are counted."""
        conditions = (self.begun or self.statuses is not None, self.types is not None, self.subjects is not None)
        return sum(conditions) <= 1 and self.uids is None and not self.by_time


@dataclass(frozen=True, slots=True)
class Found:
    """Tasks, by their places in the blocks that were looked through: a byte of 1 for each."""

    blocks: Sequence[int]
    places: bytes

    @property
    def count(self) -> int:
        return self.places.count(1)

    def uids(self) -> list[int]:
        """All of them, in their order."""
        found: list[int] = []
        for number, block in enumerate(self.blocks):
            here = self.places[number * BLOCK : (number + 1) * BLOCK]
            found += [block * BLOCK + place for place, is_one in enumerate(here) if is_one]
        return found

    def page(self, *, limit: int | None, begin: int | None, reverse: bool) -> list[int]:
        """The first `limit` of them at `begin` or behind it, newest first unless `reverse`."""
        found: list[int] = []
        most = len(self.places) if limit is None else limit
        low, high = 0, len(self.places)
        if begin is not None and reverse:
            low = self._place(begin)
        elif begin is not None:
            high = self._place(begin + 1)
        while len(found) < most:
            place = self.places.find(1, low, high) if reverse else self.places.rfind(1, low, high)
            if place < 0:
                break
            found.append(self._uid(place))
            low, high = (place + 1, high) if reverse else (low, place)
        return found

    def skip(self, newest: int) -> int:
        """The uid behind the `newest` newest ones; 0 when there are no more than that."""
        place = len(self.places)
        for _ in range(newest + 1):
            place = self.places.rfind(1, 0, place)
            if place < 0:
                return 0
        return self._uid(place)

    def _place(self, uid: int) -> int:
        block, place = divmod(uid, BLOCK)
        number = bisect_left(self.blocks, block)
        there = number < len(self.blocks) and self.blocks[number] == block
        return number * BLOCK + (place if there else 0)

    def _uid(self, place: int) -> int:
        return self.blocks[place // BLOCK] * BLOCK + place % BLOCK


@dataclass(frozen=True, slots=True)
class Columns:
    """The marks of some blocks, put together. If tasks are asked for by time, also what is known of their times:
    `spans`, and the times themselves by block where those do not decide. Without `spans` nothing is decided by them."""

    blocks: Sequence[int]
    marks: bytes
    times: Mapping[int, str | None] = field(default_factory=dict)
    spans: Spans | None = None

    @classmethod
    def of(
        cls,
        blocks: Sequence[int],
        marks: Sequence[str | None],
        times: Mapping[int, str | None] | None = None,
        spans: Spans | None = None,
    ) -> Self:
        """As they are kept: None for a block that is not there any more, and cut off behind the newest task."""
        whole = b"".join((each or "").encode().ljust(BLOCK * MARK, b"\0") for each in marks)
        return cls(blocks, whole, times or {}, spans)

    def find(self, wanted: Wanted) -> Found:
        """The tasks that are wanted. The times must be there if they are asked for by time."""
        found = _one_of(self.marks[0::MARK], map(ord, letters_of(wanted)))
        if wanted.types is not None:
            found &= _one_of(self.marks[STATE::MARK], wanted.types)
        if wanted.without is not None:
            found &= ~_one_of(self.marks[STATE::MARK], [wanted.without])
        if wanted.subjects is not None:
            found &= _subjects(self.marks, wanted.subjects)
        if wanted.uids is not None:
            found &= _uids(self.blocks, wanted.uids)
        places = found.to_bytes(len(self.blocks) * BLOCK, "big")
        return Found(self.blocks, self._in_time(places, wanted.limits) if wanted.by_time else places)

    def without(self, found: Found, type: int) -> Found:
        """What was found here, but for tasks of a type."""
        others = int.from_bytes(found.places, "big") & ~_one_of(self.marks[STATE::MARK], [type])
        return Found(found.blocks, others.to_bytes(len(found.places), "big"))

    def _in_time(self, places: bytes, limits: Sequence[Limit]) -> bytes:
        """Those of the places whose times are within the limits."""
        found: list[bytes] = []
        for number, block in enumerate(self.blocks):
            here = places[number * BLOCK : (number + 1) * BLOCK]
            for limit in limits if 1 in here else ():
                held = None if self.spans is None else limit.holds_all(block, self.spans)
                within = self._within(number, limit) if held is None else self._having(number, limit.column, held)
                here = (int.from_bytes(here, "big") & within).to_bytes(BLOCK, "big")
            found.append(here)
        return b"".join(found)

    def _having(self, number: int, column: str, held: bool) -> int:
        """The places of a block that have any time in a column, if that is `held` to be within; otherwise none."""
        start = number * BLOCK * MARK
        return _one_of(self.marks[start : start + BLOCK * MARK : MARK], map(ord, _HAVING[column])) if held else 0

    def _within(self, number: int, limit: Limit) -> int:
        text, size = self.times[self.blocks[number]] or "", TIME * len(TIMES)
        low, high = f"{limit.first:0{TIME}}", f"{limit.last:0{TIME}}"
        whole, begin = text.ljust(BLOCK * size, "\0"), TIMES.index(limit.column) * TIME
        if limit.first > limit.last:
            return 0
        return int.from_bytes(bytes([low <= whole[at : at + TIME] <= high for at in range(begin, len(whole), size)]))


def letters_of(wanted: Wanted) -> list[str]:
    """The marks of the statuses that are wanted."""
    begun = [
        letter.upper() for status, letter in _LETTERS.items() if wanted.statuses is None or status in wanted.statuses
    ]
    return begun if wanted.begun else [*begun, *map(str.lower, begun)]


def _one_of(column: bytes, values: Iterable[int]) -> int:
    """The places whose character is one of these, as a number with a byte of 1 for each."""
    table = bytearray(256)
    for value in values:
        table[value] = 1
    return int.from_bytes(column.translate(table), "big")


def _subjects(whole: bytes, subjects: Collection[int]) -> int:
    """Numbers that differ only in their last character are looked for at once."""
    found = 0
    for start, alike in groupby(sorted(subjects), lambda subject: subject >> 7):
        here = _one_of(whole[_SUBJECT::MARK], (subject & 127 for subject in alike))
        for number in range(1, _SUBJECT):
            here &= _one_of(whole[_SUBJECT - number :: MARK], [start >> 7 * (number - 1) & 127])
        found |= here
    return found


def _uids(blocks: Sequence[int], uids: Iterable[int]) -> int:
    starts = {block: number * BLOCK for number, block in enumerate(blocks)}
    places = bytearray(len(blocks) * BLOCK)
    for uid in uids:
        block, place = divmod(uid, BLOCK)
        if block in starts:
            places[starts[block] + place] = 1
    return int.from_bytes(places, "big")

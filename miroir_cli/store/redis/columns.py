"""What tasks are asked for by, apart from them: a few characters for each, in columns that are read as a whole. Pure.

A block holds `BLOCK` uids in one string for each column. Columns of marks have one character for each uid: the status,
the type, and four for the subject (the index, see `subjects.py`), of which the last ones are mostly empty. Those of
times have thirteen digits. What a query asks for is looked through with a few operations on all blocks at once: a
column of marks of 100,000 tasks is 25 strings of 4 KiB. Times are looked at one by one, but only in blocks of which
some are within a limit and some are not (`spans.py`).

Numbers are written in characters of seven bits. Characters of zero: there is no such task, or no such time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Self

from miroir_cli.store.redis.spans import LATEST, Limit, Spans, kept, limits_of
from miroir_cli.store.tasks import TaskStatus

BLOCK: Final = 4096

STATUS: Final = "status"
TYPE: Final = "type"
SUBJECT: Final = ("subject", "subject-2", "subject-3", "subject-4")
"""The columns of a subject's number, the lowest seven bits first."""

MARKS: Final = (STATUS, TYPE, *SUBJECT)
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
_MOST_SUBJECTS: Final = 128 ** len(SUBJECT) - 1


def place(uid: int) -> tuple[int, int]:
    """The block of a task, and its place there."""
    return divmod(uid, BLOCK)


def status_mark(status: TaskStatus, *, begun: bool) -> str:
    """One letter, a capital one for a task that was begun."""
    return _LETTERS[status].upper() if begun else _LETTERS[status]


def status_of(letter: str) -> TaskStatus:
    return _STATUSES[letter.lower()]


def marks_of(status: TaskStatus, *, begun: bool, subject: int, type: int | None = None) -> dict[str, str]:
    """How a task is marked in each column. `subject`, `type`: their numbers; None: that is not looked at."""
    assert 0 <= subject <= _MOST_SUBJECTS and (type is None or 0 < type <= _MOST_TYPES)
    found = {STATUS: status_mark(status, begun=begun)}
    found |= {column: chr(subject >> 7 * place & 127) for place, column in enumerate(SUBJECT)}
    return found if type is None else found | {TYPE: chr(type)}


def time(moment: int | None) -> str:
    """A time as thirteen characters, in the order of the times."""
    return _NEVER if moment is None else f"{kept(moment):0{TIME}}"


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
    def marks(self) -> tuple[str, ...]:
        """The columns of marks that tell them."""
        by_type = self.types is not None or self.without is not None
        return (STATUS, *([TYPE] if by_type else ()), *(SUBJECT if self.subjects is not None else ()))

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
    """Columns of marks of some blocks, put together; one that is empty in all of them has no bytes. If tasks are asked
    for by time, also what is known of their times: `spans`, and the times themselves, by column and block, where those
    do not decide. Without `spans` nothing is decided by them."""

    blocks: Sequence[int]
    marks: Mapping[str, bytes]
    times: Mapping[tuple[str, int], str | None] = field(default_factory=dict)
    spans: Spans | None = None

    @classmethod
    def of(
        cls,
        blocks: Sequence[int],
        marks: Mapping[str, Sequence[str | None]],
        times: Mapping[tuple[str, int], str | None] | None = None,
        spans: Spans | None = None,
    ) -> Self:
        """As they are kept: None for a block that is not there any more, and cut off behind the newest task."""
        whole = {
            column: b"".join((each or "").encode().ljust(BLOCK, b"\0") for each in texts) if any(texts) else b""
            for column, texts in marks.items()
        }
        return cls(blocks, whole, times or {}, spans)

    def find(self, wanted: Wanted) -> Found:
        """The tasks that are wanted. What they are asked for by must be there: `Wanted.marks`, and times."""
        found = _one_of(self.marks[STATUS], map(ord, letters_of(wanted)))
        if wanted.types is not None:
            found &= _one_of(self.marks[TYPE], wanted.types)
        if wanted.without is not None:
            found &= ~_one_of(self.marks[TYPE], [wanted.without])
        if wanted.subjects is not None:
            found &= self._of_subjects(wanted.subjects)
        if wanted.uids is not None:
            found &= _uids(self.blocks, wanted.uids)
        places = found.to_bytes(len(self.blocks) * BLOCK, "big")
        return Found(self.blocks, self._in_time(places, wanted.limits) if wanted.by_time else places)

    def without(self, found: Found, type: int) -> Found:
        """What was found here, but for tasks of a type."""
        others = int.from_bytes(found.places, "big") & ~_one_of(self.marks[TYPE], [type])
        return Found(found.blocks, others.to_bytes(len(found.places), "big"))

    def _of_subjects(self, subjects: Collection[int]) -> int:
        """Numbers that differ only in their lowest bits are looked for at once."""
        found = 0
        for start, alike in groupby(sorted(subjects), lambda subject: subject >> 7):
            here = self._having_bits(SUBJECT[0], [subject & 127 for subject in alike])
            for number, column in enumerate(SUBJECT[1:]):
                bits = start >> 7 * number & 127
                if bits or self.marks[column]:
                    here &= self._having_bits(column, [bits])
            found |= here
        return found

    def _having_bits(self, column: str, values: Sequence[int]) -> int:
        marks = self.marks[column]
        return _one_of(marks or bytes(len(self.blocks) * BLOCK), values) if marks or 0 in values else 0

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
        here = self.marks[STATUS][number * BLOCK : (number + 1) * BLOCK]
        return _one_of(here, map(ord, _HAVING[column])) if held else 0

    def _within(self, number: int, limit: Limit) -> int:
        if limit.first > limit.last:
            return 0
        text = (self.times[limit.column, self.blocks[number]] or "").ljust(BLOCK * TIME, "\0")
        low, high = f"{limit.first:0{TIME}}", f"{limit.last:0{TIME}}"
        return int.from_bytes(bytes([low <= text[at : at + TIME] <= high for at in range(0, len(text), TIME)]))


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


def _uids(blocks: Sequence[int], uids: Iterable[int]) -> int:
    starts = {block: number * BLOCK for number, block in enumerate(blocks)}
    places = bytearray(len(blocks) * BLOCK)
    for uid in uids:
        block, place = divmod(uid, BLOCK)
        if block in starts:
            places[starts[block] + place] = 1
    return int.from_bytes(places, "big")

"""What a transaction holds of Redis in memory: hashes and sorted sets, with what it has changed of them. Pure.

A transaction reads its own changes, and sends at its end only what has become different.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Command = tuple[str | int | float, ...]
"""One command of Redis, as its client takes it."""

LOWEST: Final = float("-inf")
HIGHEST: Final = float("inf")


class Hash(dict[str, str]):
    """A hash: change it like a dictionary. Without fields it does not exist."""

    def __init__(self, key: str, found: Mapping[str, str]) -> None:
        super().__init__(found)
        self.key = key
        self._before = dict(found)

    def replace(self, fields: Mapping[str, str]) -> None:
        """Have these fields and no others."""
        self.clear()
        self.update(fields)

    def changes(self) -> list[Command]:
        """The commands that make the stored hash like this one."""
        if not self:
            return [("DEL", self.key)] if self._before else []
        written = [(name, value) for name, value in self.items() if self._before.get(name) != value]
        gone = [name for name in self._before if name not in self]
        commands: list[Command] = []
        if gone:
            commands.append(("HDEL", self.key, *gone))
        if written:
            commands.append(("HSET", self.key, *(part for pair in written for part in pair)))
        return commands


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a sorted set."""

    name: str
    score: float


@dataclass(slots=True)
class Changed:
    """What a transaction changes of one sorted set: its members' new scores, None for those that are taken out.

    `emptied`: nothing that is stored counts; `gone`: that is so because another command takes it away.
    """

    key: str
    scores: dict[str, float | None] = field(default_factory=dict)
    emptied: bool = False
    gone: bool = False

    def add(self, name: str, score: float) -> None:
        self.scores[name] = score

    def discard(self, name: str) -> None:
        self.scores[name] = None

    def empty(self) -> None:
        """Take out all members."""
        self.emptied = True
        self.scores.clear()

    def seen(
        self, found: Iterable[Member], *, low: float = LOWEST, high: float = HIGHEST, reverse: bool = False
    ) -> list[Member]:
        """The members with scores from `low` to `high` as they are after the changes; `found`: those stored."""
        kept = () if self.emptied else tuple(member for member in found if member.name not in self.scores)
        added = (Member(name, score) for name, score in self.scores.items() if score is not None)
        both = [*kept, *(member for member in added if low <= member.score <= high)]
        return sorted(both, key=lambda member: (member.score, member.name), reverse=reverse)

    def changes(self) -> list[Command]:
        """The commands that make the stored set like this."""
        commands: list[Command] = [("DEL", self.key)] if self.emptied and not self.gone else []
        gone = [name for name, score in self.scores.items() if score is None]
        added = [(score, name) for name, score in self.scores.items() if score is not None]
        if gone and not self.emptied:
            commands.append(("ZREM", self.key, *gone))
        if added:
            commands.append(("ZADD", self.key, *(part for pair in added for part in pair)))
        return commands


def members(flat: Sequence[str]) -> list[Member]:
    """What Redis answers to a range `WITHSCORES`: names and scores in turn."""
    return [Member(name, float(score)) for name, score in zip(flat[::2], flat[1::2], strict=True)]


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """What Redis answers to HGETALL: names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def bound(score: float) -> str:
    """A score as a range names it; infinite ones are open ends."""
    if score == LOWEST:
        return "-inf"
    return "+inf" if score == HIGHEST else repr(score)

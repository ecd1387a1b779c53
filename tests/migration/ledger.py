"""What may be seen of each document, given what the clients were told: the yardstick of a history.

Writes are entered in the order of their intents. An acknowledged write has happened, with everything before it
settled; one that was reported as failed has not; of any other nobody can say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

State = tuple[int | None, int | None] | None
"""A document's `value` and `extra`; None when there is none."""

Effect = Callable[[State], State]


def adding(value: int) -> Effect:
    return lambda state: (value, None)


def updating(extra: int) -> Effect:
    return lambda state: (state[0] if state else None, extra)


def deleting(state: State) -> State:
    return None


def deleting_above(limit: int) -> Effect:
    return lambda state: None if state and state[0] is not None and state[0] > limit else state


@dataclass(kw_only=True)
class Ledger:
    """For each key the states that nothing contradicts, and the writes of which nobody knows."""

    settled: dict[str, frozenset[State]] = field(default_factory=dict)
    open: dict[str, list[tuple[int, Effect]]] = field(default_factory=dict)
    seen: dict[str, list[frozenset[State]]] = field(default_factory=dict)
    """What was possible, from the beginning to now; for readers that take their time."""
    version: int = 0
    unknown: set[str] = field(default_factory=set)
    """Keys of shards that were lost: whatever is there is right."""

    def add_keys(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.settled[key], self.open[key] = frozenset([None]), []
            self.seen[key] = [self.settled[key]]

    def begun(self, n: int, effects: dict[str, Effect]) -> None:
        for key, effect in effects.items():
            self.open[key].append((n, effect))
            self._changed(key)

    def acknowledged(self, n: int, keys: Iterable[str]) -> None:
        for key in keys:
            if n not in [number for number, _ in self.open[key]]:
                continue  # a later one was acknowledged before
            while True:
                number, effect = self.open[key].pop(0)
                after = frozenset(map(effect, self.settled[key]))
                self.settled[key] = after if number == n else after | self.settled[key]
                if number == n:
                    break
            self._changed(key)

    def failed(self, n: int, keys: Iterable[str]) -> None:
        for key in keys:
            self.open[key] = [each for each in self.open[key] if each[0] != n]
            self._changed(key)

    def possible(self, key: str) -> frozenset[State]:
        return self.seen[key][-1]

    def _changed(self, key: str) -> None:
        self.version += 1
        states = self.settled[key]
        for _, effect in self.open[key]:
            states |= frozenset(map(effect, states))
        self.seen[key].append(states)

    def allows(self, key: str, state: State, *, since: int = -1) -> bool:
        """Whether the state can be seen now, or could at some time since a moment (see `moment`)."""
        return key in self.unknown or any(state in states for states in self.seen[key][since:])

    def moment(self, key: str) -> int:
        return len(self.seen[key]) - 1

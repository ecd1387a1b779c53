"""What a history is made of, and how things go in it at a moment: drawn from one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from tests.replication.simulated import Delivery

TROUBLES = (Delivery.REFUSED, Delivery.BUSY, Delivery.LOST, Delivery.UNANSWERED, Delivery.LATE)
DEATHS = (Delivery.KILLED_BEFORE, Delivery.KILLED_AFTER, Delivery.KILLED_LATE)

Drawn = TypeVar("Drawn")


@dataclass(frozen=True, kw_only=True)
class Climate:
    """What a history is made of; drawn from its seed."""

    nodes: int
    shards: int
    replicas: int
    keys: int
    writers: int
    writes: int
    haste: bool
    """Whether writers give the movers hardly any rest."""
    commands: int
    faults: int
    troubles: float = 0.0
    """The chance that something happens to a request, to a task, to a question."""
    kills: float = 0.0
    """The chance that a command is killed at some time."""
    stutter: float = 0.0
    """The chance that a process stands still for a while when it comes to the store."""
    loses_disk: bool = False
    healer: bool = False


def climate_of(random: Random) -> Climate:
    """Most histories are about one shard and a key or two that everybody wants."""
    duel = random.random() < 0.7
    nodes = random.choice((2, 3) if duel else (3, 3, 4))
    return Climate(
        nodes=nodes,
        shards=1 if duel else random.choice((1, 2, 3)),
        replicas=min(nodes - 1, random.choice((1, 2) if duel else (1, 2, 2, 3))),
        keys=random.choice((1, 2, 3)),
        writers=random.choice((1, 2)),
        writes=random.choice((10, 30, 60)),
        haste=duel or random.random() < 0.3,
        commands=random.choice((1, 3, 5)),
        faults=random.choice((0, 0, 1, 3)),
        troubles=random.choice((0.0, 0.0, 0.02, 0.06)),
        kills=random.choice((0.0, 0.0, 0.3, 0.7)),
        stutter=random.choice((0.0, 0.0, 0.02, 0.1)),
        loses_disk=random.random() < 0.1,
        healer=random.random() < 0.3,
    )


@dataclass(kw_only=True)
class Weather:
    """How things go at present: the chances that a write is not just taken, that a task does not just succeed, that a
    question is not answered, and that a process stands still for a while when it comes to the store."""

    random: Random
    deliveries: Mapping[Delivery, float] = field(default_factory=dict)
    outcomes: Mapping[str, float] = field(default_factory=dict)
    silence: float = 0.0
    stutter: float = 0.0
    grace: float = 0.3

    def latency(self) -> float:
        return self.random.choice((0.0, 0.001, 0.002, 0.005, 0.01, 0.03))

    def task_time(self) -> float:
        return self.random.choice((0.002, 0.005, 0.01, 0.02, 0.05, 0.15))

    def lateness(self) -> float:
        """Of a request that is not answered: always less than the grace of a fence."""
        return self.random.uniform(0.0, 0.9) * self.grace

    def delivery(self) -> Delivery:
        return _drawn(self.random, self.deliveries, Delivery.TAKEN)

    def outcome(self) -> str:
        return _drawn(self.random, self.outcomes, "succeeded")

    def hesitation(self) -> float:
        if self.random.random() < self.stutter:
            return self.random.choice((0.05, 0.3, 1.0))
        return self.latency() if self.random.random() < 0.1 else 0.0

    def worsen(self, climate: Climate) -> None:
        kinds = [*TROUBLES, *(DEATHS if climate.kills else ())]
        self.deliveries = dict.fromkeys(kinds, climate.troubles / 3)
        self.outcomes = {"failed": climate.troubles / 2, "truncated": climate.troubles / 2}
        self.silence, self.stutter = climate.troubles / 5, climate.stutter

    def clear(self) -> None:
        self.deliveries, self.outcomes, self.silence, self.stutter = {}, {}, 0.0, 0.0


def _drawn(random: Random, chances: Mapping[Drawn, float], otherwise: Drawn) -> Drawn:
    point = random.random()
    for value, chance in chances.items():
        point -= chance
        if point < 0:
            return value
    return otherwise

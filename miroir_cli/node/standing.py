"""How a node is preferred to others that have the same shards. Pure.

The price of a node is its mean response time times the cube of the questions it has before it, this one included.
Source: C3 (Suresh et al., NSDI 2015), whose cube keeps a fast node from drawing everything; as nodes do not tell how
long they worked on an answer, the response time stands for that, averaged as Elasticsearch does in its adaptive
selection of replicas (weight 0.3). A price falls while a node is not asked, so that it is tried again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

WEIGHT = 0.3
"""Of the newest answer in the mean response time."""

HALF_LIFE = 10.0
"""Seconds after which a node that is not asked counts as half as slow."""

SECONDS_OF_FAILURE = 1.0
"""A question that fails counts as one that took at least as long."""

FAILURES = 3
"""So many failures in a row, and a node is left alone for a while."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

LATE = 1.2
"""Of the time within which a node answers 95 of 100 questions; who takes longer is late."""

SOONEST_LATE = 0.025
"""Seconds before which nobody is late."""

KNOWN_FROM = 20
"""Answers from which on it is known how long a node may take."""


def mean(before: float | None, seconds: float) -> float:
    """The mean response time after one more answer."""
    return seconds if before is None else before + WEIGHT * (seconds - before)


def price(seconds: float | None, *, outstanding: int, idle: float) -> float:
    """What asking a node costs, in seconds of no place. One that was never asked costs nothing: it is tried first."""
    if seconds is None:
        return 0.0
    return float(seconds * 0.5 ** (idle / HALF_LIFE) * (outstanding + 1) ** 3)


def pause(failures: int) -> float:
    """Seconds for which a node is left alone after so many failures in a row."""
    if failures < FAILURES:
        return 0.0
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - FAILURES, 16))


def late_after(recent: Sequence[float], otherwise: float) -> float:
    """Seconds after which a node with these response times is late; `otherwise` is the longest, and for who is not
    known yet."""
    if len(recent) < KNOWN_FROM:
        return otherwise
    usual = sorted(recent)[math.ceil(0.95 * len(recent)) - 1]
    return min(max(LATE * usual, SOONEST_LATE), otherwise)

"""What a long-lived process learns of its nodes by asking them: how fast they are, how busy, whether they fail."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from miroir_cli import metrics
from miroir_cli.node.standing import SECONDS_OF_FAILURE, late_after, mean, pause, price

if TYPE_CHECKING:
    from miroir_cli.model import NodeName

REMEMBERED = 128
"""Response times of a node that are kept."""

LEARNT_EVERY = 16
"""Answers after which it is worked out anew when the node is late."""

HEDGED_SHARE = 0.1
"""Of all questions, those that may be asked again because a node is late: when all are late, more would not help."""

HEDGES_SAVED = 10.0

NOBODY: frozenset[NodeName] = frozenset()


@dataclass(slots=True, eq=False)
class _Node:
    """`late` was worked out from `recent` for `limit`, when there had been `learnt` answers."""

    recent: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    seconds: float | None = None
    asked_at: float = 0.0
    outstanding: int = 0
    answers: int = 0
    failures: int = 0
    late: float = 0.0
    learnt: int = 0
    limit: float | None = None


class NodeWatch:
    """The nodes of one process. `adaptive`: they are chosen by what is known of them; `hedging`: late ones have
    competitors."""

    def __init__(
        self, *, adaptive: bool = True, hedging: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.adaptive = adaptive
        self.hedging = hedging
        self._clock = clock
        self._nodes: dict[NodeName, _Node] = {}
        self._paused: dict[NodeName, float] = {}
        """Nodes that failed too often, and until when nobody asks them."""
        self._hedges = HEDGES_SAVED

    def prices(self, names: Iterable[NodeName]) -> dict[NodeName, float] | None:
        """What each of the nodes costs; None when it does not matter."""
        if not self.adaptive:
            return None
        now = self._clock()
        return {name: self._price(name, now) for name in names}

    def shunned(self) -> frozenset[NodeName]:
        """Nodes to leave alone if others can answer. When its pause is over a node gets one question, and all again
        once it has answered that."""
        if not self._paused or not self.adaptive:
            return NOBODY
        now = self._clock()
        return frozenset(
            name for name, until in self._paused.items() if until > now or self._nodes[name].outstanding > 0
        )

    def late_after(self, name: NodeName, otherwise: float) -> float:
        """Seconds after which a node is late; `otherwise` for who is not known yet."""
        node = self._node(name)
        if node.limit != otherwise or node.answers - node.learnt >= LEARNT_EVERY:
            node.limit, node.learnt = otherwise, node.answers
            node.late = late_after(node.recent, otherwise)
        return node.late

    def may_hedge(self) -> bool:
        """Whether one more question may be asked again; takes it from what was saved up."""
        if not self.hedging or self._hedges < 1:
            return False
        self._hedges -= 1
        return True

    # -- one question, from its beginning to its end

    def asked(self, name: NodeName) -> float:
        """A question is sent; the moment, for those below."""
        node = self._node(name)
        node.outstanding += 1
        node.asked_at = now = self._clock()
        self._hedges = min(HEDGES_SAVED, self._hedges + HEDGED_SHARE)
        return now

    def answered(self, name: NodeName, since: float) -> None:
        node = self._node(name)
        node.outstanding -= 1
        node.failures = 0
        self._paused.pop(name, None)
        self._learn(name, node, self._clock() - since)

    def failed(self, name: NodeName, since: float) -> None:
        node = self._node(name)
        node.outstanding -= 1
        now = self._clock()
        node.seconds = mean(node.seconds, max(now - since, SECONDS_OF_FAILURE))
        self._count_failure(name, node, now)
        metrics.NODE_ERRORS.inc(name)

    def given_up(self, name: NodeName, since: float, *, late: bool) -> None:
        """The answer is not wanted any more. `late`: because others were faster; then it would have taken longer
        than until now."""
        node = self._node(name)
        node.outstanding -= 1
        if late:
            now = self._clock()
            self._learn(name, node, now - since)
            if name in self._paused:
                self._count_failure(name, node, now)

    # -- inside

    def _node(self, name: NodeName) -> _Node:
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = _Node()
        return node

    def _price(self, name: NodeName, now: float) -> float:
        node = self._nodes.get(name)
        if node is None:
            return 0.0
        return price(node.seconds, outstanding=node.outstanding, idle=now - node.asked_at)

    def _learn(self, name: NodeName, node: _Node, seconds: float) -> None:
        node.seconds = mean(node.seconds, seconds)
        node.recent.append(seconds)
        node.answers += 1
        metrics.NODE_REQUEST_DURATION.observe(seconds, name)
        if node.answers % LEARNT_EVERY == 0:
            metrics.REPLICA_SCORE.set(self._price(name, self._clock()), name)

    def _count_failure(self, name: NodeName, node: _Node, now: float) -> None:
        node.failures += 1
        if (seconds := pause(node.failures)) > 0:
            self._paused[name] = now + seconds

"""What nodes say about their experimental features, for a process that lives long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from miroir_cli.errors import MiroirError

if TYPE_CHECKING:
    from miroir_cli.model import NodeName
    from miroir_cli.node.client import NodeClient
    from miroir_cli.node.fleet import Fleet

ASKED_EVERY = 20.0
BELIEVED_FOR = 60.0
"""Seconds for which a node is believed what it said; one that cannot be asked any more is not known then."""

ANSWER_WITHIN = 2.0
PINNING = "dynamicSearchRules"


class Features:
    """Which nodes have switched nothing on that matters to a merge."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pin_nothing: dict[NodeName, float] = {}

    def pins_nothing(self, name: NodeName) -> bool:
        """Whether a node said lately that it has no dynamic search rules, which pin documents to places."""
        said = self._pin_nothing.get(name)
        return said is not None and self._clock() - said < BELIEVED_FOR

    async def learn(self, client: NodeClient) -> None:
        """Ask a node. One that does not answer, or may not tell this key, stays as it was known."""
        try:
            found = await client.get("experimental-features", timeout=ANSWER_WITHIN)
        except MiroirError:
            return
        if isinstance(found, dict) and not found.get(PINNING, False):
            self._pin_nothing[client.name] = self._clock()
        else:
            self._pin_nothing.pop(client.name, None)


async def keep_learning(features: Features, fleet: Fleet) -> None:
    """Ask all nodes again and again."""
    while True:
        await fleet.each(features.learn)
        await asyncio.sleep(ASKED_EVERY)

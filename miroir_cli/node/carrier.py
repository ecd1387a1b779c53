"""Which key goes along with a request that makes a task: the node's own, or that of the sender's slot (rule F1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from miroir_cli.errors import LeaseLost, MiroirError, NodeUnavailable
from miroir_cli.node.answers import Answer, Refused, Unknown

if TYPE_CHECKING:
    from miroir_cli.node.client import NodeClient

MOST_SENT: Final = 4
"""How often one request is sent, under a new key each time, while the node refuses the keys."""


@dataclass(frozen=True, slots=True)
class Carried:
    """The key of a slot on one node."""

    slot: int
    value: str = field(repr=False)


class Carrier(Protocol):
    """Gives requests the keys of slots; where a node has none, they carry the one of the topology file."""

    async def key_for(self, client: NodeClient) -> Carried | None:
        """The key that the next request to this node carries; None: its configured one. Raises `MiroirError` when it
        cannot be had: then nothing may be sent."""
        ...

    async def refused(self, client: NodeClient, carried: Carried, answer: Refused) -> Refused | None:
        """A node does not know a key (rule F3): None when the request can be sent again under another one, else what
        to answer."""
        ...

    def give_up(self, carried: Carried) -> None:
        """Something that was sent under this slot may still arrive: nothing more is."""
        ...

    async def doubt(self, carried: Carried) -> None:
        """The same, and others are told."""
        ...


async def carry(
    carrier: Carrier, client: NodeClient, send: Callable[[Carried | None], Awaitable[Answer]], *, timeout: float
) -> Answer:
    """Send a request under the key that it should carry, and again when the node certainly refused it for its key.

    Nobody waits longer for the key than for the answer: `timeout` seconds.
    """
    for turn in range(1, MOST_SENT + 1):
        try:
            async with asyncio.timeout(timeout):
                carried = await carrier.key_for(client)
        except TimeoutError:
            return _not_sent(NodeUnavailable(f"node `{client.name}` made no key in time", node=client.name, sent=False))
        except MiroirError as error:
            return _not_sent(error)
        if carried is None:
            return await send(None)
        try:
            answer = await send(carried)
        except BaseException:
            carrier.give_up(carried)
            raise
        if _in_doubt(answer):
            await carrier.doubt(carried)
        if turn == MOST_SENT or not isinstance(answer, Refused) or answer.status not in (401, 403):
            return answer
        refusal = await carrier.refused(client, carried, answer)
        if refusal is not None:
            return refusal
    raise AssertionError("unreachable")


def _in_doubt(answer: Answer) -> bool:
    """Whether others may shut this sender out: after an answer that is unknown, or with its lease gone."""
    return isinstance(answer, Unknown) or (isinstance(answer, Refused) and isinstance(answer.error, LeaseLost))


def _not_sent(error: MiroirError) -> Refused:
    """What becomes of a write for which there is no key: nothing was sent. A node that is busy may have one soon."""
    wait = error.retry_after if isinstance(error, NodeUnavailable) else None
    return Refused(error=error, status=None if wait is None else 503, retry_after=wait)

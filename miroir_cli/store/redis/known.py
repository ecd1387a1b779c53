"""What a process knows of the state that it works on: a Redis that has lost it is not taken for one that has it.

Restarted without its data, failed over to a replica that lacked the last changes, emptied by hand: whoever read it
before notices in the round trip of what is read next, and neither answers by it nor writes into it. A change of the
cluster shows by the epoch, a write of an index by its number: a Redis that has forgotten nothing but the last writes is
at the same epoch as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import StateUnavailable
from miroir_cli.store.redis.keys import CLUSTER

if TYPE_CHECKING:
    from miroir_cli.store.redis.fields import Command

QUESTION: Final[Command] = ("HMGET", CLUSTER, "id", "epoch")
"""What is asked beside: whose the state is, and how far it is."""

HINT: Final = "put Redis's data back, or run `miroir state recover` to rebuild the state from the nodes"


class Known:
    """The cluster that a process has found in a Redis at `shown`, the newest epoch that it has read there, and for each
    index (`content_key`) the highest number of a write. `numbers` is never changed, but replaced: whoever asks keeps
    what was known then."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.id: str | None = None
        self.epoch = 0
        self.numbers: Mapping[str, int] = {}

    def heed(self, answer: Sequence[Any], *, since: int) -> None:
        """Compare the answer to `QUESTION` with what was known when it was asked (`since`: the epoch of then).

        Raises `StateUnavailable` when the state is gone, another cluster's, or older.
        """
        id, written = answer
        if id is None:
            if self.id is not None:
                raise StateUnavailable(
                    f"Redis at {self.shown} has lost the state of the cluster, which was at epoch {since}", hint=HINT
                )
            return
        epoch = int(written)
        if self.id not in (None, id):
            raise StateUnavailable(f"Redis at {self.shown} has the state of another cluster by now", hint=HINT)
        if epoch < since:
            raise StateUnavailable(
                f"Redis at {self.shown} has forgotten changes: the state was at epoch {since}, and is at {epoch}",
                hint=HINT,
            )
        self.id = id
        self.epoch = max(self.epoch, epoch)

    def heed_number(self, content: str, newest: int, *, since: Mapping[str, int]) -> None:
        """The same for the newest write of an index; `since`: the numbers of when it was asked."""
        known = since.get(content, 0)
        if newest < known:
            raise StateUnavailable(
                f"Redis at {self.shown} has forgotten writes: of index `{content.rpartition('@')[0]}` it had {known}, "
                f"and has {newest}",
                hint=HINT,
            )
        self.learn_number(content, newest)

    def learn_number(self, content: str, newest: int) -> None:
        """A write of this number was recorded."""
        if newest > self.numbers.get(content, 0):
            self.numbers = {**self.numbers, content: newest}

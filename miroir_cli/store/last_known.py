"""Reading goes on while a shared store is silent: from what was read last, for a bounded time, and marked as that.

Only who says that it reads for somebody who is told (`may_be_stale`) is answered so. Everything else, writes above
all, gets the store's own error. Source: protocol rule E2.

Others are told how old that memory may be (`Listener`), and take nothing away that it shows before it is newer (E3). So
whatever is remembered must never be older than what was told: an answer that overtakes another one is not remembered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from miroir_cli.errors import MiroirError, StateUnavailable
from miroir_cli.model import IndexMap
from miroir_cli.store.fence import clock

if TYPE_CHECKING:
    from miroir_cli.model import Index, NodeName
    from miroir_cli.store.aliases import Alias
    from miroir_cli.store.protocol import Listener, Store
    from miroir_cli.store.records import ApiKey, ClusterRecord, Member, Progress

Found = TypeVar("Found")

PATIENCE: Final = 1.0
"""Seconds that a reading which could be answered from memory waits for the store."""

LISTENING: Final = 1.0
"""Seconds between two looks at the store, of a process that answers nobody meanwhile."""

LOG = logging.getLogger("miroir.store")


@dataclass(slots=True)
class Answer:
    """One answer that is being made. `stale`: something in it is from memory."""

    stale: bool = False


_ANSWER: ContextVar[Answer | None] = ContextVar("answer", default=None)


@contextmanager
def may_be_stale() -> Iterator[Answer]:
    """Let what is read in the block, and in tasks begun there, be from memory while the store is silent."""
    answer = Answer()
    token = _ANSWER.set(answer)
    try:
        yield answer
    finally:
        _ANSWER.reset(token)


def is_stale() -> bool:
    """Whether the answer that is being made here has something from memory in it."""
    answer = _ANSWER.get()
    return answer is not None and answer.stale


class LastKnown:
    """The protocol `miroir_cli.store.protocol.Store` over another store, which may fall silent for `limit` seconds
    before readers notice more than a mark. `listener`: who tells others how old what is remembered may be; without one
    nobody is told."""

    def __init__(self, store: Store, *, limit: float, listener: Listener | None = None) -> None:
        self._store = store
        self._limit = limit
        self._listener = listener
        self._kept: dict[tuple[str, ...], Any] = {}
        self._turns: dict[tuple[str, ...], int] = {}
        self._turn = 0
        self._oldest = 0
        self._oldest_map = 0
        self._heard_at = clock()
        self._trouble: MiroirError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def silent(self) -> bool:
        """Whether the store did not answer the last time."""
        return self._trouble is not None

    async def keep_listening(self) -> None:
        """Know what there is, tell others how new that is, and notice when the store is back; until cancelled."""
        epoch = -1
        while True:
            try:
                epoch = await self._listen(epoch)
            except TimeoutError:
                self._fell_silent(_no_answer())
            except MiroirError as error:
                self._fell_silent(error)
            await asyncio.sleep(LISTENING)

    async def _listen(self, epoch: int) -> int:
        """One look. `epoch`, and what is returned: nothing that is remembered is older than it."""
        began = clock()
        async with asyncio.timeout(PATIENCE):
            now = await self._store.epoch()
            self._heard(began)
            if self._listener is not None and not await self._listener.say(max(epoch, 0)):
                self._forget()
                epoch = -1
        if now != epoch:
            await self.maps()
            await self.aliases()
            await self.cluster()
            if self._listener is not None:
                async with asyncio.timeout(PATIENCE):
                    if not await self._listener.say(now):
                        self._forget()
                        return -1
        return now

    async def leave(self) -> None:
        """Answer nobody any more, and say so if that can be said."""
        if self._listener is not None:
            with suppress(MiroirError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._listener.leave()

    def require_heard(self) -> None:
        """Raise the store's error at once, when it was silent the last time: for who cannot do without it."""
        if self._trouble is not None:
            raise self._trouble

    # -- what readers ask for

    async def cluster(self) -> ClusterRecord | None:
        return await self._recall(("cluster",), self._store.cluster)

    async def epoch(self) -> int:
        return await self._recall(("epoch",), self._store.epoch)

    async def members(self) -> dict[NodeName, Member]:
        return await self._recall(("members",), self._store.members)

    async def indexes(self) -> tuple[Index, ...]:
        return await self._recall(("indexes",), self._store.indexes)

    async def map(self, uid: str) -> IndexMap | None:
        return await self._recall(("map", uid), lambda: self._store.map(uid))

    async def maps(self) -> tuple[IndexMap, ...]:
        return await self._recall(("maps",), self._store.maps, keep=self._keep_maps)

    async def aliases(self) -> tuple[Alias, ...]:
        return await self._recall(("aliases",), self._store.aliases)

    async def alias(self, name: str) -> Alias | None:
        return await self._recall(
            ("alias",), lambda: self._store.alias(name), unknown=self._known_alias(name), keep=_nothing
        )

    async def resolve(self, name: str) -> IndexMap | Alias | None:
        return await self._recall(
            ("resolve",), lambda: self._store.resolve(name), unknown=self._known_target(name), keep=self._keep_target
        )

    def _known_alias(self, name: str) -> Any:
        """The alias of a name as all were read last; `...` when they never were."""
        known: tuple[Alias, ...] | None = self._kept.get(("aliases",))
        return ... if known is None else next((alias for alias in known if alias.name == name), None)

    def _known_target(self, name: str) -> Any:
        """What a name stands for as far as it is known; `...` when it is not."""
        found = self._kept.get(("map", name))
        if found is not None:
            return found
        alias = self._known_alias(name)
        if alias is ... or alias is None:
            return ...
        found = None if alias.target is None else self._kept.get(("map", str(alias.target)))
        return alias if alias.target is None else ... if found is None else replace(found, alias=name)

    async def progress(self, uid: str) -> Progress | None:
        return await self._recall(("progress", uid), lambda: self._store.progress(uid), unknown=None)

    async def require(self, index: Index) -> None:
        await self._recall(("require",), lambda: self._store.require(index), unknown=None)

    async def frozen(self) -> dict[str, str]:
        return await self._recall(("frozen",), self._store.frozen)

    async def settings_versions(self, uid: str) -> dict[NodeName, int]:
        return await self._recall(("settings", uid), lambda: self._store.settings_versions(uid))

    async def api_keys(self) -> tuple[ApiKey, ...]:
        return await self._recall(("keys",), self._store.api_keys)

    # -- remembering

    async def _recall(
        self,
        key: tuple[str, ...],
        ask: Callable[[], Awaitable[Found]],
        *,
        unknown: Any = ...,
        keep: Callable[[Found, int], None] | None = None,
    ) -> Found:
        """What the store says; what it said last while it is silent, or `unknown` where that is an answer. `keep`
        remembers it, with the turn in which it was asked for, otherwise than under its key."""
        answer = _ANSWER.get()
        if answer is None or not self.silent:
            began, self._turn = clock(), self._turn + 1
            turn = self._turn
            try:
                async with asyncio.timeout(None if answer is None else PATIENCE):
                    found = await ask()
            except TimeoutError:
                self._fell_silent(_no_answer())
            except StateUnavailable as error:
                self._fell_silent(error)
                if answer is None:
                    raise
            else:
                self._heard(began)
                if keep is None:
                    self._keep(key, found, turn)
                else:
                    keep(found, turn)
                return found
        assert answer is not None and self._trouble is not None
        if clock() > self._until():
            raise self._trouble
        found = self._kept.get(key, unknown)
        if found is ...:
            raise self._trouble
        answer.stale = True
        return cast("Found", found)

    def _until(self) -> float:
        """Until when there are answers from memory, by `clock`."""
        limit = self._heard_at + self._limit
        return limit if self._listener is None else min(limit, self._listener.until)

    def _keep(self, key: tuple[str, ...], found: object, turn: int) -> None:
        """Remember an answer, unless what is remembered was asked for later."""
        oldest = self._oldest_map if key[0] == "map" else self._oldest
        if turn < max(oldest, self._turns.get(key, 0)):
            return
        if found is None:
            self._kept.pop(key, None)
            self._turns.pop(key, None)
        else:
            self._kept[key] = found
            self._turns[key] = turn

    def _keep_maps(self, found: tuple[IndexMap, ...], turn: int) -> None:
        if turn < self._oldest_map:
            return
        for key in [key for key in self._kept if key[0] == "map" and self._turns[key] < turn]:
            del self._kept[key], self._turns[key]
        self._oldest_map = turn
        for map in found:
            self._keep(("map", str(map.index.uid)), map, turn)
        self._keep(("indexes",), tuple(map.index for map in found), turn)
        self._keep(("maps",), found, turn)

    def _keep_target(self, found: IndexMap | Alias | None, turn: int) -> None:
        if isinstance(found, IndexMap):
            self._keep(("map", str(found.index.uid)), replace(found, alias=None), turn)

    def _forget(self) -> None:
        """Remember nothing, nor what was asked for before."""
        self._kept.clear()
        self._turns.clear()
        self._turn += 1
        self._oldest = self._oldest_map = self._turn

    def _heard(self, began: float) -> None:
        """The store has answered to what it was asked at this moment: what it said was true then, or later."""
        if self._trouble is not None:
            LOG.warning("the state store answers again", extra={"seconds": round(clock() - self._heard_at, 1)})
        self._trouble = None
        self._heard_at = max(self._heard_at, began)

    def _fell_silent(self, error: MiroirError) -> None:
        if self._trouble is None:
            LOG.error(
                "the state store does not answer: %s",
                error.message,
                extra={"reason": error.message, "reads_go_on": self._limit},
            )
        self._trouble = error


def _nothing(found: object, turn: int) -> None:
    """Remember nothing of it."""


def _no_answer() -> StateUnavailable:
    return StateUnavailable(
        f"the state store did not answer within {PATIENCE:g} s",
        hint="see `miroir doctor`; nothing has to be done here when it is back",
    )

"""Reading goes on while a shared store is silent: from what was read last, for a bounded time, and marked as that.

Only who says that it reads for somebody who is told (`may_be_stale`) is answered so. Everything else, writes above
all, gets the store's own error. Source: protocol rule E2.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from miroir_cli.errors import MiroirError, StateUnavailable
from miroir_cli.model import IndexMap

if TYPE_CHECKING:
    from miroir_cli.model import Index, NodeName
    from miroir_cli.store.aliases import Alias
    from miroir_cli.store.protocol import Store
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


def is_bounded() -> bool:
    """Whether the answer that is being made here could be from memory: when the store's error comes through, the time
    for that is over."""
    return _ANSWER.get() is not None


class LastKnown:
    """The protocol `miroir_cli.store.protocol.Store` over another store, which may fall silent for `limit` seconds
    before readers notice more than a mark."""

    def __init__(self, store: Store, *, limit: float) -> None:
        self._store = store
        self._limit = limit
        self._kept: dict[tuple[str, ...], Any] = {}
        self._heard_at = time.monotonic()
        self._trouble: MiroirError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def silent(self) -> bool:
        """Whether the store did not answer the last time."""
        return self._trouble is not None

    async def keep_listening(self) -> None:
        """Know what there is, and notice when the store is back; until cancelled."""
        epoch = -1
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    now = await self._store.epoch()
                self._heard()
                if now != epoch:
                    await self.maps()
                    await self.aliases()
                    await self.cluster()
                    epoch = now
            except TimeoutError:
                self._fell_silent(_no_answer())
            except MiroirError as error:
                self._fell_silent(error)
            await asyncio.sleep(LISTENING)

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
        async def ask() -> tuple[IndexMap, ...]:
            found = await self._store.maps()
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] != "map"}
            self._kept |= {("map", str(map.index.uid)): map for map in found}
            self._kept[("indexes",)] = tuple(map.index for map in found)
            return found

        return await self._recall(("maps",), ask)

    async def aliases(self) -> tuple[Alias, ...]:
        return await self._recall(("aliases",), self._store.aliases)

    async def alias(self, name: str) -> Alias | None:
        return await self._recall(
            ("alias",), lambda: self._store.alias(name), unknown=self._known_alias(name), keep=False
        )

    async def resolve(self, name: str) -> IndexMap | Alias | None:
        async def ask() -> IndexMap | Alias | None:
            found = await self._store.resolve(name)
            if isinstance(found, IndexMap):
                self._kept["map", str(found.index.uid)] = replace(found, alias=None)
            return found

        return await self._recall(("resolve",), ask, unknown=self._known_target(name), keep=False)

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
        self, key: tuple[str, ...], ask: Callable[[], Awaitable[Found]], *, unknown: Any = ..., keep: bool = True
    ) -> Found:
        """What the store says; what it said last while it is silent, or `unknown` where that is an answer."""
        answer = _ANSWER.get()
        if answer is None or not self.silent:
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
                self._heard()
                self._keep(key, found if keep else None)
                return found
        assert answer is not None and self._trouble is not None
        if time.monotonic() - self._heard_at > self._limit:
            raise self._trouble
        found = self._kept.get(key, unknown)
        if found is ...:
            raise self._trouble
        answer.stale = True
        return cast("Found", found)

    def _keep(self, key: tuple[str, ...], found: object) -> None:
        if found is None:
            self._kept.pop(key, None)
        else:
            self._kept[key] = found

    def _heard(self) -> None:
        if self._trouble is not None:
            LOG.warning("the state store answers again", extra={"seconds": round(time.monotonic() - self._heard_at, 1)})
        self._trouble = None
        self._heard_at = time.monotonic()

    def _fell_silent(self, error: MiroirError) -> None:
        if self._trouble is None:
            LOG.error(
                "the state store does not answer: %s",
                error.message,
                extra={"reason": error.message, "reads_go_on": self._limit},
            )
        self._trouble = error


def _no_answer() -> StateUnavailable:
    return StateUnavailable(
        f"the state store did not answer within {PATIENCE:g} s",
        hint="see `miroir doctor`; nothing has to be done here when it is back",
    )

"""Renewing: a thread of its own, for the loop of a process can be busy for longer than its leases last."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError

from miroir_cli.store.fence import Term, clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis as BlockingRedis

    from miroir_cli.store.redis.script import Argument, Script


@dataclass(slots=True, kw_only=True, eq=False)
class Renewed:
    """Something that is had for a term at a time: the script that gives it another one answers 1 as its first word."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...]
    term: Term = field(default_factory=Term)


class Renewal:
    """Renews what it is told to keep every `every` seconds, for `lasting` seconds each time.

    What cannot be renewed now is tried again soon; what somebody else has is left alone: whoever goes on under it is
    refused.
    """

    def __init__(self, connect: Callable[[], BlockingRedis], *, every: float, lasting: float) -> None:
        self._connect = connect
        self._every = every
        self._lasting = lasting
        self._kept: dict[int, Renewed] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: float | None = None
        self._at_work = threading.Lock()

    def start(self) -> None:
        """Begin, if that was not done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._go_on, name="leases", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Renew nothing any more, and wait until nothing is under way."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def keep(self, renewed: Renewed) -> None:
        self._kept[id(renewed)] = renewed

    def drop(self, renewed: Renewed) -> None:
        self._kept.pop(id(renewed), None)

    def pause(self) -> None:
        """Return once what was dropped before is certainly not renewed any more."""
        with self._at_work:
            return

    def failed_within(self, seconds: float) -> bool:
        """Whether Redis was not to be reached a short while ago: then others could not renew theirs either."""
        return self._failed is not None and clock() - self._failed < seconds

    def _go_on(self) -> None:
        client: BlockingRedis | None = None
        pause = self._every
        while not self._ended.wait(pause):
            pause = self._every
            try:
                client = client or self._connect()
                with self._at_work:
                    self._renew(client)
            except (RedisError, OSError):
                self._failed = clock()
                pause = self._every / 4
        if client is not None:
            client.close()

    def _renew(self, client: BlockingRedis) -> None:
        kept = list(self._kept.values())
        began = clock()
        for renewed, answer in zip(kept, self._answers(client, kept), strict=True):
            if isinstance(answer, Exception):
                raise answer
            granted = answer[0] if isinstance(answer, list) else answer
            if granted and not renewed.term.over:
                renewed.term.until = began + self._lasting
            elif not granted:
                renewed.term.until = 0.0
                self.drop(renewed)

    def _answers(self, client: BlockingRedis, kept: list[Renewed]) -> list[Any]:
        with client.pipeline(transaction=False) as pipe:
            for each in kept:
                pipe.execute_command(*each.script.by_hash(each.keys, each.arguments))  # type: ignore[no-untyped-call]
            answers = pipe.execute(raise_on_error=False)
        if not any(isinstance(answer, NoScriptError) for answer in answers):
            return answers
        with client.pipeline(transaction=False) as pipe:
            for each in kept:
                pipe.execute_command(*each.script.whole(each.keys, each.arguments))  # type: ignore[no-untyped-call]
            return pipe.execute(raise_on_error=False)

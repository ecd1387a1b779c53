"""Transactions over Redis: read what a decision needs, decide in Python, write all of it or nothing.

Optimistic, as Redis does it (WATCH, MULTI, EXEC): what was read is watched; if anything of it has changed before the
changes arrive, none of them is made, and the whole is begun again. So a decision must be a function of what it reads.
A reading alone watches nothing: each further read asks again for what was read before, and begins again if that
has changed meanwhile. One round trip for each `ask`, one to write.

What several asks of a writing transaction have found may be of several moments: such a decision is never written, but
whatever it does before that (an error, too) must be harmless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import OutOfMemoryError

from miroir_cli.store.redis.fields import (
    HIGHEST,
    LOWEST,
    Changed,
    Command,
    Hash,
    Member,
    bound,
    members,
    pairs,
)
from miroir_cli.store.redis.known import QUESTION

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from miroir_cli.store.fence import Lease
    from miroir_cli.store.redis.known import Known
    from miroir_cli.store.redis.line import Line


class Conflict(Exception):
    """Something that was read has changed: begin again."""


class Full(Conflict):
    """Redis is out of memory, and takes no MULTI, not even to read: begin again, and let a script read."""


class Lapsed(Conflict):
    """A lease is not the caller's, or has run out."""

    def __init__(self, lease: Lease, *, taken: bool) -> None:
        super().__init__(lease.scope)
        self.lease = lease
        self.taken = taken


class Transaction:
    """One attempt. Hashes and sorted sets are read through it, and remember what is changed of them."""

    def __init__(
        self,
        client: Redis,
        *,
        watching: Line | None,
        leases: Sequence[Lease] = (),
        known: Known | None = None,
        full: bool = False,
    ) -> None:
        """`watching`: the connection that watches what is read and writes at the end; None: nothing is written.

        `leases` are read with what is read first, and watched: raises `Lapsed` when one is not the caller's. `known`:
        what the state must be; it is asked with all that a reading reads, and with what is read first of another.
        `full`: see `Full`.
        """
        self._client = client
        self._watching = watching
        self._leases = tuple(leases)
        self._known = known
        self._state = known
        self._numbers = {} if known is None else known.numbers
        self._full = full
        self._hashes: dict[str, Hash] = {}
        self._sets: dict[str, Changed] = {}
        self._texts: dict[str, str | None] = {}
        self._lasting: dict[str, int] = {}
        self._increases: Counter[Command] = Counter()
        self._bounds: dict[tuple[str, str], dict[str, float]] = {}
        self._asked: dict[Command, Any] = {}
        self._watched: set[str] = set()
        self._before: list[Command] = []
        self._gone: set[str] = set()
        self._more: list[Command] = []

    # -- reading

    async def hash(self, key: str) -> Hash:
        """The hash of a key; empty when there is none. Whoever asks again gets the same one, with its changes."""
        (found,) = await self.hashes([key])
        return found

    async def hashes(self, keys: Iterable[str]) -> list[Hash]:
        """The same for several at once, in one round trip."""
        wanted = list(keys)
        if self._gone:
            self._hashes |= {key: Hash(key, {}) for key in wanted if key in self._gone and key not in self._hashes}
        new = [key for key in dict.fromkeys(wanted) if key not in self._hashes]
        for key, found in zip(new, await self.ask([("HGETALL", key) for key in new]), strict=True):
            self._hashes[key] = Hash(key, found if isinstance(found, dict) else pairs(found))
        return [self._hashes[key] for key in wanted]

    def fresh(self, key: str) -> Hash:
        """A hash that certainly does not exist yet, without asking (its number has just been taken)."""
        return self._hashes.setdefault(key, Hash(key, {}))

    async def ranged(
        self,
        key: str,
        *,
        low: float = LOWEST,
        high: float = HIGHEST,
        limit: int | None = None,
        reverse: bool = False,
        watch: bool = True,
    ) -> list[Member]:
        """Members of a sorted set with scores from `low` to `high`, both included, `limit` of them at most.
        `watch`: see `ask`."""
        changed = self._changed(key)
        room = None if limit is None else limit + len(changed.scores)
        command = _range(key, low=low, high=high, reverse=reverse)
        if room is not None:
            command = (*command, "LIMIT", 0, room)
        (found,) = await self.ask([(*command, "WITHSCORES")], watch=watch)
        seen = changed.seen(members_in(found), low=low, high=high, reverse=reverse)
        return seen if limit is None else seen[:limit]

    async def ahead(self, *, hashes: Iterable[str] = (), sets: Iterable[str] = ()) -> None:
        """Ask for hashes and whole sorted sets at once, of which each is read next: one round trip for all."""
        whole = [(*_range(key), "WITHSCORES") for key in sets]
        await self.ask([*(("HGETALL", key) for key in hashes), *whole])

    async def names(self, key: str) -> list[str]:
        """All members of a sorted set, in its order."""
        return [member.name for member in await self.ranged(key)]

    async def score(self, key: str, name: str) -> float | None:
        """The score of a member; None when it is none."""
        changed = self._changed(key)
        if name in changed.scores or changed.emptied:
            return changed.scores.get(name)
        (found,) = await self.ask([("ZSCORE", key, name)])
        return None if found is None else float(found)

    async def size(self, key: str) -> int:
        """How many members a sorted set has; it must not have been changed here."""
        assert key not in self._sets or not self._sets[key].scores
        (found,) = await self.ask([("ZCARD", key)])
        return int(found)

    async def texts(self, keys: Iterable[str]) -> list[str | None]:
        """The strings under keys, in one round trip; None where there is none."""
        wanted = list(keys)
        new = [key for key in dict.fromkeys(wanted) if key not in self._texts]
        found = dict(zip(new, await self.ask([("GET", key) for key in new]), strict=True))
        return [self._texts[key] if key in self._texts else found[key] for key in wanted]

    async def ask(
        self, commands: Sequence[Command], *, watch: bool = True, beside: Sequence[Command] = ()
    ) -> list[Any]:
        """What Redis answers to commands that only read, in one round trip; their second word is the key.

        `watch=False`: what they answer may change meanwhile, and nothing is begun again for it; they are answered at
        one moment. `beside`: further such ones in the same round trip, answered behind the others.
        """
        if not watch:
            return await self._glance([*commands, *beside])
        new = [command for command in dict.fromkeys(commands) if command not in self._asked]
        if self._watching is None:
            answers = await self._again([*new, *beside])
        else:
            answers = await self._watched_answers(self._watching, new, beside)
        self._asked |= zip(new, answers, strict=False)
        return [*(self._asked[command] for command in commands), *answers[len(new) :]]

    async def _watched_answers(self, line: Line, commands: Sequence[Command], beside: Sequence[Command]) -> list[Any]:
        leases, self._leases = self._leases, ()
        keys = {str(command[1]) for command in commands} | {lease.key for lease in leases}
        keys -= self._watched
        self._watched |= keys
        known, self._known = self._known, None
        since = 0 if known is None else known.epoch
        checks: list[Command] = [("GET", lease.key) for lease in leases]
        checks += [] if known is None else [QUESTION]
        answers = await line.watch(sorted(keys), [*checks, *commands, *beside])
        if known is not None:  # first: what has forgotten changes may have forgotten leases with them
            known.heed(answers[len(leases)], since=since)
        for lease, found in zip(leases, answers, strict=False):
            if found != lease.value:
                raise Lapsed(lease, taken=found is not None)
        return answers[len(checks) :]

    async def _glance(self, commands: Sequence[Command]) -> list[Any]:
        return await (self._again(commands) if self._watching is None else self._at_once(commands))

    async def _again(self, commands: Sequence[Command]) -> list[Any]:
        """The answers of one moment at which everything is as it was read before."""
        if not commands:
            return []
        before = list(self._asked)
        answers = await self._at_once([*before, *commands])
        if answers[: len(before)] != list(self._asked.values()):
            raise Conflict
        return answers[len(before) :]

    async def _at_once(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            return []
        known = None if self._watching is not None else self._known
        since = 0 if known is None else known.epoch
        every = (*commands, *(() if known is None else (QUESTION,)))
        answers = await (self._by_script(every) if self._full else self._by_pipeline(every, at_once=len(commands) > 1))
        if known is not None:
            known.heed(answers.pop(), since=since)
        return answers

    async def _by_pipeline(self, commands: Sequence[Command], *, at_once: bool) -> list[Any]:
        try:
            async with self._client.pipeline(transaction=at_once) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return list(await pipe.execute())
        except OutOfMemoryError:
            if self._watching is not None:
                raise
            raise Full from None

    async def _by_script(self, commands: Sequence[Command]) -> list[Any]:
        words = [word for command in commands for word in (len(command), *command)]
        return list(await self._client.eval(READ_AT_ONCE, 0, *words))

    def heed_number(self, content: str, newest: int) -> None:
        """The newest write of an index (`content_key`) was found to have this number. Raises `StateUnavailable` when
        this process knows of a later one, and Redis does not any more."""
        if self._state is not None:
            self._state.heed_number(content, newest, since=self._numbers)

    # -- changing

    async def next(self, counter: str) -> int:
        """The next number of a counter: 1 at first."""
        counters = await self.hash(COUNTERS)
        number = int(counters.get(counter, "0")) + 1
        counters[counter] = str(number)
        return number

    def add(self, key: str, name: str, score: float) -> None:
        """Put a member into a sorted set, or give it another score."""
        self._changed(key).add(name, score)

    def discard(self, key: str, name: str) -> None:
        self._changed(key).discard(name)

    def empty(self, key: str) -> None:
        """Take all members out of a sorted set."""
        self._changed(key).empty()

    def take_away(self, keys: Iterable[str], *command: str | int | float) -> None:
        """Send a command before all changes that leaves nothing under these keys; nothing is seen there any more."""
        self._before.append(command)
        for key in keys:
            self._gone.add(key)
            self._hashes.pop(key, None)
            self._sets.pop(key, None)

    def put(self, key: str, text: str | None, *, lasting: int | None = None) -> None:
        """Write a string, for so many milliseconds, or for as long as it was to last; None: there is none any more."""
        self._texts[key] = text
        if lasting is not None:
            self._lasting[key] = lasting

    def increase(self, *command: str | int, by: int) -> None:
        """Count with INCRBY or HINCRBY: nothing here reads it, so that others who do the same are not disturbed."""
        self._increases[command] += by

    def bound(self, *, first: str, last: str, name: str, score: float) -> None:
        """Give a member of two sorted sets this score, unless it has a lower one in the `first` of them or a higher one
        in the `last`: nothing here reads it, so that others who do the same are not disturbed."""
        low, high = (self._bounds.setdefault(each, {}) for each in ((first, "LT"), (last, "GT")))
        low[name] = min(score, low.get(name, score))
        high[name] = max(score, high.get(name, score))

    def also(self, *command: str | int | float) -> None:
        """A further command to send with the changes (PEXPIREAT, PUBLISH): nothing here reads what it does."""
        self._more.append(command)

    def _changed(self, key: str) -> Changed:
        gone = key in self._gone
        return self._sets.setdefault(key, Changed(key, emptied=gone, gone=gone))

    # -- ending

    async def commit(self) -> None:
        """Send the changes. Raises `Conflict` when nothing was changed by them."""
        await self.ask(())
        commands = list(self._before)
        commands += [command for each in self._hashes.values() for command in each.changes()]
        commands += [command for each in self._sets.values() for command in each.changes()]
        commands += [self._put(key, text) for key, text in self._texts.items()]
        commands += [(*command, by) for command, by in self._increases.items() if by]
        commands += [
            ("ZADD", key, only, *(part for name, score in scores.items() for part in (score, name)))
            for (key, only), scores in self._bounds.items()
        ]
        commands += self._more
        if not commands:
            return
        assert self._watching is not None, "a reading changes nothing"
        await self._change(commands)

    def _put(self, key: str, text: str | None) -> Command:
        if text is None:
            return ("DEL", key)
        lasting = self._lasting.get(key)
        return ("SET", key, text, "KEEPTTL") if lasting is None else ("SET", key, text, "PX", lasting)

    async def confirm(self) -> None:
        """Make sure that what was read was so at one moment, when nothing is to be changed (a refusal rests on it)."""
        if self._watched:
            await self._change([("PING",)])

    async def _change(self, commands: Sequence[Command]) -> None:
        assert self._watching is not None
        if not await self._watching.change(commands):
            raise Conflict


COUNTERS = "miroir:counters"

READ_AT_ONCE = """
local answers, at = {}, 1
while ARGV[at] do
  local last = at + tonumber(ARGV[at])
  answers[#answers + 1] = redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
return answers
"""
"""What Redis answers to commands that are given one after the other, each with the number of its words before it."""


def _range(key: str, *, low: float = LOWEST, high: float = HIGHEST, reverse: bool = False) -> Command:
    if reverse:
        return ("ZRANGE", key, bound(high), bound(low), "BYSCORE", "REV")
    return ("ZRANGE", key, bound(low), bound(high), "BYSCORE")


def members_in(found: Sequence[Any]) -> list[Member]:
    """The members that Redis answers with their scores: RESP 2 has a flat list, RESP 3 pairs."""
    if found and isinstance(found[0], list | tuple):
        return [Member(str(name), float(score)) for name, score in found]
    return members(found)

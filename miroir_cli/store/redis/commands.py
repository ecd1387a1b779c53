"""The journal of commands.

`miroir:commands:<id>` is one; two sorted sets name them, by their numbers and by when they began (`_started`), and
`miroir:commands:mark:<mark>` tells the number of a mark. Commands begin everywhere all the time, so what is old is
looked for without watching the sets: it stays old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import now
from miroir_cli.store.journal import KEPT_COMMANDS, KEPT_DAYS, CommandRecord, JournalQuery, RunId
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.fields import LOWEST, bound
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.run_events import events_by_process
from miroir_cli.store.redis.values import answered, number, texts

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

COMMANDS: Final = listing("commands")
STARTED: Final = "miroir:commands:_started"

PAGE: Final = 500
"""Commands that are read at once."""

_NAMES: Final = (
    "mark", "words", "line", "cluster", "user", "host", "pid", "started_at", "born", "behind", "folder", "topology",
    "finished_at", "status", "code", "result",
)  # fmt: skip
_ENDING: Final = ("finished_at", "status", "code", "result")


def mark_key(mark: str) -> str:
    return key("commands", "mark", mark)


async def save_command(transaction: Transaction, record: CommandRecord) -> None:
    """Record a command, or how one that is recorded has ended. What is too old, or too much, is forgotten."""
    mark = await transaction.hash(mark_key(record.mark))
    known = await transaction.hash(key("commands", mark["id"])) if mark else None
    if known:
        kept = {name: value for name, value in known.items() if name not in _ENDING}
        known.replace({**kept, **texts({name: getattr(record, name) for name in _ENDING})})
    else:
        id = await transaction.next("commands")
        mark["id"] = str(id)
        transaction.fresh(key("commands", id)).update(texts({name: getattr(record, name) for name in _NAMES}))
        transaction.add(COMMANDS, str(id), id)
        transaction.add(STARTED, str(id), record.started_at)
    if record.finished_at is None:
        await _forget_old(transaction, newest=int(mark["id"]))


async def _forget_old(transaction: Transaction, *, newest: int) -> None:
    old = await transaction.ask(
        [
            ("ZRANGE", COMMANDS, "-inf", newest - KEPT_COMMANDS, "BYSCORE"),
            ("ZRANGE", STARTED, "-inf", f"({now() - KEPT_DAYS * 86_400_000}", "BYSCORE"),
        ],
        watch=False,
    )
    ids = list(dict.fromkeys(id for found in old for id in found))
    marks = await transaction.ask([("HGET", key("commands", id), "mark") for id in ids], watch=False)
    for id, mark in zip(ids, marks, strict=True):
        transaction.discard(COMMANDS, id)
        transaction.discard(STARTED, id)
        transaction.also("DEL", key("commands", id), *([] if mark is None else [mark_key(mark)]))


async def read_commands(transaction: Transaction, query: JournalQuery) -> tuple[CommandRecord, ...]:
    """The newest commands that match, newest first. One that ends meanwhile is told as it was or as it is."""
    since = LOWEST if query.since is None else query.since
    (found,) = await transaction.ask([("ZRANGE", STARTED, bound(since), "+inf", "BYSCORE")], watch=False)
    ids = sorted(map(int, found), reverse=True)
    wanted: list[CommandRecord] = []
    for first in range(0, len(ids), PAGE):
        wanted += filter(query.wants, await _records(transaction, ids[first : first + PAGE]))
        if len(wanted) >= query.limit:
            break
    return await _with_runs(transaction, wanted[: query.limit])


async def read_command(transaction: Transaction, id: int) -> CommandRecord | None:
    found = await _with_runs(transaction, await _records(transaction, [id]))
    return found[0] if found else None


async def _records(transaction: Transaction, ids: Iterable[int]) -> list[CommandRecord]:
    """Those of these commands that are kept, without their runs."""
    named = list(ids)
    found = await transaction.ask([("HGETALL", key("commands", id)) for id in named], watch=False)
    return [_command_of(id, answered(fields)) for id, fields in zip(named, found, strict=True) if fields]


def _command_of(id: int, fields: Mapping[str, str]) -> CommandRecord:
    return CommandRecord(
        id=id,
        mark=fields["mark"],
        words=fields["words"],
        line=fields["line"],
        cluster=fields["cluster"],
        user=fields["user"],
        host=fields["host"],
        pid=int(fields["pid"]),
        started_at=int(fields["started_at"]),
        born=fields.get("born"),
        behind=fields.get("behind"),
        folder=fields.get("folder"),
        topology=fields.get("topology"),
        finished_at=number(fields.get("finished_at")),
        status=number(fields.get("status")),
        code=fields.get("code"),
        result=fields.get("result"),
    )


async def _with_runs(transaction: Transaction, records: Sequence[CommandRecord]) -> tuple[CommandRecord, ...]:
    """Each with the runs that its process began, went on with or steered while it was under way."""
    found = await transaction.ask(
        [
            ("ZRANGE", events_by_process(each.host, each.pid), each.started_at, each.finished_at or now(), "BYSCORE")
            for each in records
        ],
        watch=False,
    )
    return tuple(
        replace(record, runs=tuple(RunId(id) for id in sorted({int(name.partition(":")[0]) for name in names})))
        for record, names in zip(records, found, strict=True)
    )


class Commands(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def save_command(self, record: CommandRecord, *, durable: bool) -> None:
        """Record a command, or how the one of its mark has ended: Redis decides how durably."""
        await self.access.write(lambda transaction: save_command(transaction, record))

    async def commands(self, query: JournalQuery) -> tuple[CommandRecord, ...]:
        return await self.access.read(lambda transaction: read_commands(transaction, query))

    async def command(self, id: int) -> CommandRecord | None:
        return await self.access.read(lambda transaction: read_command(transaction, id))

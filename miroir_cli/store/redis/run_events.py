"""The journal of runs and their steps: the list `miroir:events:<run>`, which is never read to write to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.journal import Process, RunId, StepEvent
from miroir_cli.store.redis.keys import key

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction


def events_by_process(host: str, pid: int) -> str:
    """The sorted set, by time, of what a process did to runs: members `<run>:<when>`."""
    return f"miroir:events:_by_process:{host}:{pid}"


def note(
    transaction: Transaction,
    id: RunId,
    step: int | None,
    *,
    process: Process,
    command: str,
    state: str,
    detail: str = "",
) -> None:
    at = now()
    event = {
        "step": step,
        "at": at,
        "host": process.host,
        "pid": process.pid,
        "command": command,
        "state": state,
        "detail": detail,
    }
    transaction.also("RPUSH", key("events", id), to_json(event))
    if step is None:
        transaction.add(events_by_process(process.host, process.pid), f"{id}:{at}", at)


async def read_events(transaction: Transaction, id: RunId) -> tuple[StepEvent, ...]:
    (found,) = await transaction.ask([("LRANGE", key("events", id), 0, -1)])
    return tuple(map(_event_of, found))


def _event_of(text: str) -> StepEvent:
    fields = from_json(text)
    process = Process(host=fields.pop("host"), pid=fields.pop("pid"))
    return StepEvent(process=process, **fields)

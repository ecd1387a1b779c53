"""The journal of commands, on every backend: begun, ended, bounded, looked through."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from miroir_cli.store.journal import (
    KEPT_DAYS,
    CommandRecord,
    JournalQuery,
    Process,
    RunId,
    RunKind,
    RunRecord,
    RunState,
    Wanted,
)
from tests.store.conftest import Open


def now() -> int:
    return time.time_ns() // 1_000_000


def a_command(mark: str, *, started_at: int | None = None, **more: Any) -> CommandRecord:
    fields: dict[str, Any] = {"line": f"miroir import books {mark}", "user": "someone", "pid": 1, **more}
    return CommandRecord(
        mark=mark,
        words="import",
        cluster="test",
        host="here",
        started_at=now() if started_at is None else started_at,
        **fields,
    )


def process(pid: int) -> Process:
    return Process(host="here", pid=pid)


async def marks(store: Any, **query: Any) -> list[str]:
    return [found.mark for found in await store.commands(JournalQuery(**query))]


async def test_a_command_is_begun_and_ended_once(store: Any) -> None:
    began = a_command("a", born="7", behind="root", folder="/srv", topology="miroir.toml")
    await store.save_command(began, durable=True)
    assert await store.commands(JournalQuery()) == (replace(began, id=1),)
    ended = replace(began, finished_at=began.started_at + 5, status=3, code="miroir_partial", result="some")
    await store.save_command(ended, durable=False)
    await store.save_command(replace(ended, mark="b"), durable=True)  # its beginning is in a store that is gone
    found = await store.commands(JournalQuery())
    assert found == (replace(ended, mark="b", id=2), replace(ended, id=1))
    assert await store.command(1) == found[1] and await store.command(3) is None


async def test_commands_are_looked_for_by_who_when_how_and_what(store: Any) -> None:
    await store.save_command(a_command("old", started_at=now() - 5_000, finished_at=now(), status=0), durable=False)
    await store.save_command(a_command("ünder", user="Zoë", behind="root", line="miroir ÜBER"), durable=False)
    await store.save_command(a_command("failed", finished_at=now(), status=3), durable=False)
    assert await marks(store) == ["failed", "ünder", "old"]
    assert await marks(store, limit=2) == ["failed", "ünder"]
    assert await marks(store, since=now() - 4_000) == ["failed", "ünder"]
    assert await marks(store, failed=True) == ["failed", "ünder"]
    assert await marks(store, who="zOË@here") == ["ünder"] == await marks(store, who="ROOT")
    assert await marks(store, word="über") == ["ünder"]
    assert await marks(store, word="IMPORT") == ["failed", "old"]
    assert await marks(store, word="100%_") == []


async def test_a_command_knows_the_runs_that_its_process_began_or_steered(store: Any) -> None:
    await store.save_command(a_command("a", pid=11, started_at=now() - 10_000), durable=False)
    await store.save_command(a_command("b", pid=11, started_at=now() + 60_000), durable=False)
    await store.save_command(a_command("c", pid=12), durable=False)
    run = RunRecord(
        id=RunId(0), kind=RunKind.REBALANCE, title="add c", state=RunState.RUNNING, wanted=Wanted.GO,
        parallel=2, rate=None, process=process(11), command="a", fingerprint="f", started_at=0,
    )  # fmt: skip
    first = (await store.begin_run(run, [])).id
    second = (await store.begin_run(run, [])).id
    await store.adopt_run(first, process=process(12), command="c")
    stranger = Process(host="elsewhere", pid=11)
    await store.begin_run(replace(run, process=stranger), [])
    assert {found.mark: found.runs for found in await store.commands(JournalQuery())} == {
        "a": (first, second),
        "b": (),
        "c": (first,),
    }


async def test_the_journal_of_commands_is_bounded_in_age_and_number(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("miroir_cli.store.sqlite.commands", "miroir_cli.store.redis.commands"):
        monkeypatch.setattr(f"{module}.KEPT_COMMANDS", 3)
    day = 86_400_000
    await store.save_command(a_command("old", started_at=now() - (KEPT_DAYS + 1) * day), durable=False)
    await store.save_command(a_command("young", started_at=now() - (KEPT_DAYS - 1) * day), durable=False)
    assert await marks(store) == ["young"]
    for number in range(3):
        await store.save_command(a_command(f"{number}"), durable=False)
    assert await marks(store) == ["2", "1", "0"]
    assert await store.command(2) is None
    ended = a_command("young", finished_at=now(), status=0)
    await store.save_command(ended, durable=False)  # was forgotten meanwhile
    assert (await store.command(6)) == replace(ended, id=6)


async def test_commands_begin_and_end_in_many_processes_at_once(another: Open) -> None:
    stores = [await another() for _ in range(3)]

    async def one(number: int) -> None:
        record = a_command(f"{number}")
        await stores[number % 3].save_command(record, durable=True)
        await stores[number % 3].save_command(replace(record, finished_at=now(), status=number), durable=False)

    await asyncio.gather(*(one(number) for number in range(12)))
    found = await stores[0].commands(JournalQuery())
    assert {record.mark: record.status for record in found} == {f"{number}": number for number in range(12)}
    assert [record.id for record in found] == list(range(12, 0, -1))

"""How long a run will take, told by those before it."""

from __future__ import annotations

from typing import Any

from miroir_cli.migration.history import expected
from miroir_cli.store.journal import Process, RunId, RunKind, RunRecord, RunState, Wanted


def finished(state: RunState = RunState.DONE, **summary: Any) -> RunRecord:
    return RunRecord(
        id=RunId(1),
        kind=RunKind.REBALANCE,
        title="rebalance",
        state=state,
        wanted=Wanted.GO,
        parallel=6,
        rate=None,
        process=Process(host="here", pid=1),
        command="miroir",
        fingerprint="",
        started_at=0,
        summary=summary,
    )


def test_a_run_takes_as_long_as_the_last_ones_took_for_so_many_documents() -> None:
    runs = [finished(documents_moved=3000, seconds=2.0), finished(documents_moved=1000, seconds=2.0)]
    assert expected(5000, runs, rate=None) == 5.0


def test_a_rate_makes_it_longer_and_never_shorter() -> None:
    runs = [finished(documents_moved=1000, seconds=1.0)]
    assert expected(5000, runs, rate=500) == 10.0
    assert expected(5000, runs, rate=5000) == 5.0


def test_nobody_knows_before_the_first_run_or_without_a_count() -> None:
    moved = finished(documents_moved=1000, seconds=1.0)
    assert expected(5000, [], rate=100) is None
    assert expected(None, [moved], rate=None) is None
    assert expected(10, [finished(), finished(documents_moved=0, seconds=4.0)], rate=None) is None
    assert expected(10, [finished(RunState.STOPPED, documents_moved=5, seconds=4.0)], rate=None) is None

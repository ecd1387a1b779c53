"""How fast a queue goes, how long the rest takes, and failures by reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.model import NodeName
from miroir_cli.queues.measure import NodeTask, Speed, failures_of, seconds_left, speed_of

N1, N2 = NodeName("n1"), NodeName("n2")
NOW = 1_000_000


def done(uid: int, start: int, end: int, *, indexed: int | None = None, node: NodeName = N1) -> NodeTask:
    return NodeTask(
        node=node, uid=uid, type="documentAdditionOrUpdate", status="succeeded", enqueued_at=0, started_at=start,
        finished_at=end, indexed=indexed,
    )  # fmt: skip


def waiting(uid: int, documents: int | None = None) -> NodeTask:
    return NodeTask(node=N1, uid=uid, type="x", status="enqueued", enqueued_at=0, documents=documents)


def failed(uid: int, reason: str, *, node: NodeName = N1, code: str = "bad", index: str | None = "books") -> NodeTask:
    return NodeTask(
        node=node, uid=uid, type="x", status="failed", enqueued_at=0, finished_at=uid, error=reason, code=code,
        index=index,
    )  # fmt: skip


def test_tasks_of_one_batch_share_its_time() -> None:
    batch = [done(uid, NOW - 10_000, NOW, indexed=100) for uid in range(5)]
    assert speed_of(batch, now=NOW) == Speed(tasks_per_minute=30.0, documents_per_second=50.0)


def test_time_without_work_does_not_count() -> None:
    tasks = [done(1, NOW - 200_000, NOW - 199_000, indexed=10), done(2, NOW - 2_000, NOW - 1_000, indexed=30)]
    assert speed_of(tasks, now=NOW) == Speed(tasks_per_minute=60.0, documents_per_second=20.0)


def test_of_a_long_task_the_part_in_the_window_counts() -> None:
    assert speed_of([done(1, NOW - 600, NOW - 200, indexed=400)], now=NOW, window=400) == Speed(
        tasks_per_minute=150.0, documents_per_second=1000.0
    )
    assert speed_of([done(1, 0, NOW - 400, indexed=5)], now=NOW, window=400) == Speed()
    assert speed_of([], now=NOW) == Speed()


def test_the_rest_is_told_by_documents_where_they_are_known_else_by_tasks() -> None:
    speed = Speed(tasks_per_minute=60.0, documents_per_second=50.0)
    assert seconds_left(speed, tasks=2, sample=[waiting(1, 100), waiting(2, 400)]) == 10.0
    assert seconds_left(speed, tasks=4, sample=[waiting(1, 100), waiting(2, 400)]) == 20.0
    assert seconds_left(speed, tasks=3, sample=[waiting(1)]) == 3.0
    assert seconds_left(Speed(), tasks=3, sample=[waiting(1, 5)]) is None
    assert seconds_left(Speed(), tasks=0, sample=[]) == 0.0


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000)), max_size=20))
def test_a_speed_is_never_more_than_all_at_once_nor_less_than_nothing(spans: list[tuple[int, int, int]]) -> None:
    tasks = [done(n, start, start + length, indexed=count) for n, (start, length, count) in enumerate(spans)]
    found = speed_of(tasks, now=2000, window=1500)
    if found.tasks_per_minute is not None:
        assert 0 <= found.tasks_per_minute <= len(tasks) * 60_000
        longest = max(length for _, length, _ in spans)
        assert longest > 0
    else:
        assert found == Speed()


def test_failures_are_grouped_by_what_they_say_and_name_documents() -> None:
    tasks = [
        failed(1, 'Document identifier `"a b"` is invalid. It has 3 characters.'),
        failed(7, 'Document identifier `"c d"` is invalid. It has 13 characters.', node=N2),
        failed(3, "Index `films` not found.", code="index_not_found", index=None),
        done(9, 1, 2),
    ]
    first, second = failures_of(tasks)
    assert (first.count, first.nodes, first.indexes) == (2, (N1, N2), ("books",))
    assert first.example.id == "n2/7" and first.reason == tasks[1].error
    assert first.documents == ("a b", "c d")
    assert (second.count, second.code, second.documents, second.indexes) == (1, "index_not_found", (), ())


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ('Could not find latitude in the document with the id: `"17"`.', ("17",)),
        ('The `_geo` field in the document with the id: `"x"` is not an object.', ("x",)),
        ("Document `42` has no vector for embedder `a`.", ("42",)),
        ("Internal error: `MDB_MAP_FULL`", ()),
    ],
)
def test_documents_are_found_in_reasons(reason: str, named: tuple[str, ...]) -> None:
    assert failures_of([failed(1, reason)])[0].documents == named


def test_no_more_documents_are_named_than_one_can_read() -> None:
    found = failures_of(failed(n, f"Document `d{n}` is bad") for n in range(50))
    assert len(found) == 1 and found[0].count == 50 and len(found[0].documents) == 10

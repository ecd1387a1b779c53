"""Background jobs, on every backend: claimed once, given back by an expired claim."""

from __future__ import annotations

import asyncio
from typing import Any

from miroir_cli.store.records_jobs import KEPT_JOBS, Job, JobId, JobState
from tests.store.conftest import Open
from tests.store.process import Beside


async def test_a_job_is_enqueued_claimed_and_completed(store: Any) -> None:
    queued = await store.enqueue_job("drift_check", {"index": "books"})
    assert queued == Job(id=queued.id, type="drift_check", params={"index": "books"})
    assert await store.job(queued.id) == queued and await store.jobs() == (queued,)
    claimed = await store.claim_job(by="host:7")
    assert claimed is not None and claimed == await store.job(queued.id)
    assert (claimed.id, claimed.state, claimed.holder) == (queued.id, JobState.IN_PROGRESS, "host:7")
    assert claimed.claim_expires_at is not None
    assert await store.claim_job(by="host:8") is None
    assert await store.heartbeat_job(claimed, progress={"shards": 3})
    beaten = await store.job(queued.id)
    assert beaten is not None and beaten.progress == {"shards": 3}
    assert beaten.claim_expires_at is not None and beaten.claim_expires_at >= claimed.claim_expires_at
    assert await store.complete_job(claimed)
    ended = await store.job(queued.id)
    assert ended is not None and (ended.state, ended.progress) == (JobState.COMPLETED, {"shards": 3})
    assert (ended.claim_expires_at, ended.holder) == (None, "host:7")
    for again in (store.heartbeat_job(claimed), store.complete_job(claimed), store.fail_job(claimed, error="late")):
        assert not await again
    assert await store.claim_job(by="host:7") is None


async def test_a_failed_job_says_why(store: Any) -> None:
    await store.enqueue_job("verify", {})
    claimed = await store.claim_job(by="me")
    assert await store.fail_job(claimed, error="node `a` is away")
    (ended,) = await store.jobs(state=JobState.FAILED)
    assert ended.progress == {"error": "node `a` is away"}
    assert await store.count_jobs() == {JobState.QUEUED: 0, JobState.IN_PROGRESS: 0}


async def test_an_expired_claim_gives_the_job_back_and_its_holder_is_refused(store: Any) -> None:
    await store.enqueue_job("verify", {})
    first = await store.claim_job(by="me", lasts=-1)
    assert await store.heartbeat_job(first, lasts=-1), "nobody else has claimed it"
    second = await store.claim_job(by="me")
    assert second is not None and second.id == first.id and second.claimed_by != first.claimed_by
    for late in (store.heartbeat_job(first), store.complete_job(first), store.release_job(first)):
        assert not await late
    assert await store.job(first.id) == second
    assert await store.complete_job(second, progress={"done": True})


async def test_a_released_job_is_the_next_ones_with_its_progress(store: Any) -> None:
    await store.enqueue_job("import", {})
    claimed = await store.claim_job(by="me")
    await store.heartbeat_job(claimed, progress={"line": 7})
    assert await store.release_job(claimed)
    found = await store.job(claimed.id)
    assert (found.state, found.claimed_by, found.claim_expires_at) == (JobState.QUEUED, None, None)
    again = await store.claim_job(by="you")
    assert again is not None and again.progress == {"line": 7}


async def test_the_oldest_wanted_job_is_claimed(store: Any) -> None:
    ids = [(await store.enqueue_job(type, {"n": n})).id for n, type in enumerate(["a", "b", "a", "b"])]
    wanted = await store.claim_job(by="me", wants=lambda job: job.type == "b")
    assert wanted.id == ids[1]
    assert (await store.claim_job(by="me", wants=lambda job: job.params["n"] > 2)).id == ids[3]
    assert await store.claim_job(by="me", wants=lambda job: False) is None
    assert (await store.claim_job(by="me")).id == ids[0]
    assert await store.count_jobs() == {JobState.QUEUED: 1, JobState.IN_PROGRESS: 3}
    assert [job.id for job in await store.jobs(state=JobState.IN_PROGRESS)] == [ids[3], ids[1], ids[0]]
    assert [job.id for job in await store.jobs(limit=2)] == [ids[3], ids[2]]


async def test_a_job_can_be_enqueued_once_as_long_as_one_like_it_is_open(another: Open) -> None:
    stores = [await another() for _ in range(3)]
    same = await asyncio.gather(*(store.enqueue_job("prune", {"days": 7}, once=True) for store in stores))
    assert len({job.id for job in same}) == 1
    assert (await stores[0].enqueue_job("prune", {"days": 8}, once=True)).id != same[0].id
    claimed = await stores[1].claim_job(by="me")
    assert claimed.id == same[0].id
    assert (await stores[0].enqueue_job("prune", {"days": 7}, once=True)).id == same[0].id
    await stores[1].complete_job(claimed)
    assert (await stores[0].enqueue_job("prune", {"days": 7}, once=True)).id != same[0].id


async def test_ended_jobs_are_kept_in_a_bounded_number(store: Any, monkeypatch: Any) -> None:
    for module in ("miroir_cli.store.sqlite.jobs", "miroir_cli.store.redis.jobs"):
        monkeypatch.setattr(f"{module}.KEPT_JOBS", 2)
    assert KEPT_JOBS >= 100
    waiting = await store.enqueue_job("waits", {})
    for number in range(4):
        await store.enqueue_job("work", {"n": number})
        await store.complete_job(await store.claim_job(by="me", wants=lambda job: job.type == "work"))
    assert [job.params.get("n") for job in await store.jobs()] == [3, 2, None]
    assert await store.job(waiting.id) == waiting and await store.job(JobId(2)) is None


WORKER = """
async def work(store, name, most):
    done = []
    while (job := await store.claim_job(by=name)) is not None and len(done) < int(most):
        assert await store.heartbeat_job(job, progress={"by": name})
        assert await store.complete_job(job)
        done.append(job.id)
    return done
"""


async def test_two_processes_claim_every_job_once(beside: Beside) -> None:
    store = await beside.open()
    ids = [(await store.enqueue_job("work", {"n": number})).id for number in range(40)]
    found = await asyncio.gather(*(beside.run(WORKER, "work", name, "100") for name in ("one", "two")))
    assert sorted(found[0] + found[1]) == ids
    assert [job.progress["by"] for job in await store.jobs(limit=40)] == [
        "one" if id in found[0] else "two" for id in reversed(ids)
    ]


DIES = """
async def die(store):
    import os, signal
    await store.claim_job(by="dead", lasts=1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_the_job_of_a_process_that_was_killed_is_the_next_ones(beside: Beside) -> None:
    store = await beside.open()
    queued = await store.enqueue_job("work", {})
    assert await beside.run(DIES, "die") is None
    found = await store.claim_job(by="me")
    assert found is not None and found.id == queued.id and found.holder == "me"

"""Background jobs.

`miroir:jobs:<id>` is one. Sorted sets name all of them (`_index`), those that wait (`_queued`), both by number, and
those that somebody has claimed by when the claim expires (`_claimed`). That is told by the clock of Redis, which is one
for all hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.records_jobs import (
    CLAIM_LASTS,
    KEPT_JOBS,
    Job,
    JobId,
    JobState,
    Wants,
    any_job,
    new_claim,
)
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.values import number, texts

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.store.redis.transaction import Transaction

JOBS: Final = listing("jobs")
QUEUED: Final = "miroir:jobs:_queued"
CLAIMED: Final = "miroir:jobs:_claimed"


class Jobs(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def enqueue_job(self, type: str, params: Json, *, once: bool = False) -> Job:
        return await self.access.write(lambda transaction: enqueue(transaction, type, params, once=once))

    async def claim_job(self, *, by: str, wants: Wants = any_job, lasts: int = CLAIM_LASTS) -> Job | None:
        name = new_claim(by)
        return await self.access.write(lambda transaction: claim(transaction, name, wants=wants, lasts=lasts))

    async def heartbeat_job(self, job: Job, *, progress: Json | None = None, lasts: int = CLAIM_LASTS) -> bool:
        return await self.access.write(lambda transaction: heartbeat(transaction, job, progress=progress, lasts=lasts))

    async def release_job(self, job: Job) -> bool:
        return await self._let_go(job, JobState.QUEUED, None)

    async def complete_job(self, job: Job, *, progress: Json | None = None) -> bool:
        return await self._let_go(job, JobState.COMPLETED, progress)

    async def fail_job(self, job: Job, *, error: str) -> bool:
        return await self._let_go(job, JobState.FAILED, {"error": error})

    async def _let_go(self, job: Job, state: JobState, progress: Json | None) -> bool:
        return await self.access.write(lambda transaction: let_go(transaction, job, state=state, progress=progress))

    async def job(self, id: JobId) -> Job | None:
        return await self.access.read(lambda transaction: read_job(transaction, id))

    async def jobs(self, *, state: JobState | None = None, limit: int = 100) -> tuple[Job, ...]:
        return await self.access.read(lambda transaction: read_jobs(transaction, state=state, limit=limit))

    async def count_jobs(self) -> dict[JobState, int]:
        return await self.access.read(count_jobs)


def _job_of(fields: Mapping[str, str]) -> Job:
    return Job(
        id=JobId(int(fields["id"])),
        type=fields["type"],
        params=from_json(fields["params"]),
        state=JobState(fields["state"]),
        claimed_by=fields.get("claimed_by"),
        claim_expires_at=number(fields.get("claim_expires_at")),
        progress=from_json(fields["progress"]),
    )


async def _save(transaction: Transaction, job: Job) -> None:
    (await transaction.hash(key("jobs", job.id))).replace(
        texts(
            {
                "id": job.id,
                "type": job.type,
                "params": to_json(job.params),
                "state": job.state.value,
                "claimed_by": job.claimed_by,
                "claim_expires_at": job.claim_expires_at,
                "progress": to_json(job.progress),
            }
        )
    )
    transaction.discard(QUEUED, str(job.id))
    transaction.discard(CLAIMED, str(job.id))
    if job.state is JobState.QUEUED:
        transaction.add(QUEUED, str(job.id), job.id)
    elif job.state is JobState.IN_PROGRESS:
        transaction.add(CLAIMED, str(job.id), job.claim_expires_at or 0)


async def _clock(transaction: Transaction) -> int:
    """Milliseconds since 1970, as Redis counts them."""
    ((seconds, microseconds),) = await transaction.ask([("TIME",)], watch=False)
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _jobs(transaction: Transaction, ids: set[str]) -> list[Job]:
    """These jobs, the oldest first."""
    found = await transaction.hashes(key("jobs", id) for id in sorted(ids, key=int))
    return [_job_of(fields) for fields in found if fields]


async def enqueue(transaction: Transaction, type: str, params: Json, *, once: bool) -> Job:
    if once:
        open_ones = {*await transaction.names(QUEUED), *await transaction.names(CLAIMED)}
        for job in await _jobs(transaction, open_ones):
            if job.is_like(type, params):
                return job
    id = JobId(await transaction.next("jobs"))
    new = Job(id=id, type=type, params=params)
    transaction.fresh(key("jobs", id))
    await _save(transaction, new)
    old = await transaction.ranged(JOBS, high=id - KEPT_JOBS)
    for ended in await _jobs(transaction, {member.name for member in old}):
        if ended.state.ended:
            transaction.discard(JOBS, str(ended.id))
            (await transaction.hash(key("jobs", ended.id))).clear()
    transaction.add(JOBS, str(id), id)
    return new


async def claim(transaction: Transaction, name: str, *, wants: Wants, lasts: int) -> Job | None:
    moment = await _clock(transaction)
    expired = await transaction.ranged(CLAIMED, high=moment)
    free = {*await transaction.names(QUEUED), *(member.name for member in expired)}
    for job in await _jobs(transaction, free):
        if job.may_be_claimed(now=moment) and wants(job):
            claimed = job.claimed(name, until=moment + lasts)
            await _save(transaction, claimed)
            return claimed
    return None


async def heartbeat(transaction: Transaction, job: Job, *, progress: Json | None, lasts: int) -> bool:
    found = await _claimed(transaction, job)
    if found is None:
        return False
    assert job.claimed_by is not None
    until = await _clock(transaction) + lasts
    await _save(transaction, found.claimed(job.claimed_by, until=until).with_progress(progress))
    return True


async def let_go(transaction: Transaction, job: Job, *, state: JobState, progress: Json | None) -> bool:
    found = await _claimed(transaction, job)
    if found is None:
        return False
    await _save(transaction, found.let_go(state).with_progress(progress))
    return True


async def _claimed(transaction: Transaction, job: Job) -> Job | None:
    """The job as it is now, if this is still its claim."""
    found = await read_job(transaction, job.id)
    return found if found is not None and found.is_claimed_as(job) else None


async def read_job(transaction: Transaction, id: JobId) -> Job | None:
    found = await transaction.hash(key("jobs", id))
    return _job_of(found) if found else None


async def read_jobs(transaction: Transaction, *, state: JobState | None, limit: int) -> tuple[Job, ...]:
    match state:
        case None | JobState.COMPLETED | JobState.FAILED:
            ids = await transaction.names(JOBS)
        case JobState.QUEUED:
            ids = await transaction.names(QUEUED)
        case JobState.IN_PROGRESS:
            ids = await transaction.names(CLAIMED)
    if state is None:
        ids = ids[-limit:]
    found = reversed(await _jobs(transaction, set(ids)))
    return tuple([job for job in found if state is None or job.state is state][:limit])


async def count_jobs(transaction: Transaction) -> dict[JobState, int]:
    return {
        JobState.QUEUED: await transaction.size(QUEUED),
        JobState.IN_PROGRESS: await transaction.size(CLAIMED),
    }

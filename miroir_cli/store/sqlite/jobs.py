"""Background jobs as rows, and the part of the store that is about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli.store.encoding import from_json, now, to_json
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
from miroir_cli.store.sqlite.access import Access

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlite_utils import Database

    from miroir_cli.model import Json

_COLUMNS = "id, type, params, state, claimed_by, claim_expires_at, progress"
_OPEN = "state in ('queued', 'in_progress')"


class JobRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def enqueue_job(self, type: str, params: Json, *, once: bool = False) -> Job:
        return await self._write(lambda db: enqueue(db, type, params, once=once))

    async def claim_job(self, *, by: str, wants: Wants = any_job, lasts: int = CLAIM_LASTS) -> Job | None:
        return await self._write(lambda db: claim(db, new_claim(by), wants=wants, lasts=lasts))

    async def heartbeat_job(self, job: Job, *, progress: Json | None = None, lasts: int = CLAIM_LASTS) -> bool:
        return await self._write(lambda db: heartbeat(db, job, progress=progress, lasts=lasts))

    async def release_job(self, job: Job) -> bool:
        return await self._write(lambda db: let_go(db, job, state=JobState.QUEUED, progress=None))

    async def complete_job(self, job: Job, *, progress: Json | None = None) -> bool:
        return await self._write(lambda db: let_go(db, job, state=JobState.COMPLETED, progress=progress))

    async def fail_job(self, job: Job, *, error: str) -> bool:
        return await self._write(lambda db: let_go(db, job, state=JobState.FAILED, progress={"error": error}))

    async def job(self, id: JobId) -> Job | None:
        return self._read(lambda db: read_job(db, id))

    async def jobs(self, *, state: JobState | None = None, limit: int = 100) -> tuple[Job, ...]:
        return self._read(lambda db: read_jobs(db, state=state, limit=limit))

    async def count_jobs(self) -> dict[JobState, int]:
        return self._read(count_jobs)


def _job_of(row: Sequence[Any]) -> Job:
    return Job(
        id=JobId(row[0]),
        type=row[1],
        params=from_json(row[2]),
        state=JobState(row[3]),
        claimed_by=row[4],
        claim_expires_at=row[5],
        progress=from_json(row[6]),
    )


def _select(db: Database, condition: str, *values: Any) -> list[Job]:
    return [_job_of(row) for row in db.conn.execute(f"select {_COLUMNS} from jobs where {condition}", values)]


def enqueue(db: Database, type: str, params: Json, *, once: bool) -> Job:
    if once:
        for job in _select(db, f"{_OPEN} and type = ? order by id", type):
            if job.is_like(type, params):
                return job
    cursor = db.execute("insert into jobs (type, params, state) values (?, ?, 'queued')", [type, to_json(params)])
    id = JobId(int(cursor.lastrowid or 0))
    db.execute(f"delete from jobs where not ({_OPEN}) and id <= ?", [id - KEPT_JOBS])
    return _select(db, "id = ?", id)[0]


def claim(db: Database, name: str, *, wants: Wants, lasts: int) -> Job | None:
    moment = now()
    for job in _select(db, f"{_OPEN} order by id"):
        if job.may_be_claimed(now=moment) and wants(job):
            claimed = job.claimed(name, until=moment + lasts)
            _save(db, claimed)
            return claimed
    return None


def heartbeat(db: Database, job: Job, *, progress: Json | None, lasts: int) -> bool:
    found = _claimed(db, job)
    if found is None:
        return False
    assert job.claimed_by is not None
    _save(db, found.claimed(job.claimed_by, until=now() + lasts).with_progress(progress))
    return True


def let_go(db: Database, job: Job, *, state: JobState, progress: Json | None) -> bool:
    found = _claimed(db, job)
    if found is None:
        return False
    _save(db, found.let_go(state).with_progress(progress))
    return True


def _claimed(db: Database, job: Job) -> Job | None:
    """The job as it is now, if this is still its claim."""
    found = read_job(db, job.id)
    return found if found is not None and found.is_claimed_as(job) else None


def _save(db: Database, job: Job) -> None:
    db.execute(
        "update jobs set state = ?, claimed_by = ?, claim_expires_at = ?, progress = ? where id = ?",
        [job.state.value, job.claimed_by, job.claim_expires_at, to_json(job.progress), job.id],
    )


def read_job(db: Database, id: JobId) -> Job | None:
    return next(iter(_select(db, "id = ?", id)), None)


def read_jobs(db: Database, *, state: JobState | None, limit: int) -> tuple[Job, ...]:
    wanted = None if state is None else state.value
    return tuple(_select(db, "(? is null or state = ?) order by id desc limit ?", wanted, wanted, limit))


def count_jobs(db: Database) -> dict[JobState, int]:
    rows = dict(db.conn.execute(f"select state, count(*) from jobs where {_OPEN} group by state"))
    return {state: rows.get(state.value, 0) for state in (JobState.QUEUED, JobState.IN_PROGRESS)}

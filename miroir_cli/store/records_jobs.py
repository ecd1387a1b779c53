"""Background jobs: work that any process may do, each done by one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NewType
from uuid import uuid4

if TYPE_CHECKING:
    from miroir_cli.model import Json

JobId = NewType("JobId", int)

HEARTBEAT_EVERY = 10_000
"""Milliseconds after which the holder of a claim renews it."""

CLAIM_LASTS = 30_000
"""Milliseconds after which a claim that was not renewed gives the job back."""

KEPT_JOBS = 1_000
"""Ended jobs that are kept."""


class JobState(StrEnum):
    """`in_progress` also while the claim has expired and nobody has taken the job up yet."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job. `claimed_by` is another text with every claim: whoever has claimed it is known by that, and refused once
    somebody else has. Times are milliseconds since 1970."""

    id: JobId
    type: str
    params: Json = field(default_factory=dict)
    state: JobState = JobState.QUEUED
    claimed_by: str | None = None
    claim_expires_at: int | None = None
    progress: Json = field(default_factory=dict)

    @property
    def holder(self) -> str | None:
        """Who has claimed it, as they called themselves."""
        return None if self.claimed_by is None else self.claimed_by.rpartition("#")[0]

    def claimed(self, claim: str, *, until: int) -> Job:
        """The job as it is once somebody has claimed it."""
        return replace(self, state=JobState.IN_PROGRESS, claimed_by=claim, claim_expires_at=until)

    def let_go(self, state: JobState) -> Job:
        """The job once its holder has ended it, or has given it back."""
        by = None if state is JobState.QUEUED else self.claimed_by
        return replace(self, state=state, claimed_by=by, claim_expires_at=None)

    def with_progress(self, progress: Json | None) -> Job:
        """None: as it was."""
        return self if progress is None else replace(self, progress=progress)

    def is_claimed_as(self, job: Job) -> bool:
        """Whether this, as it is now, is still in the hands of who has claimed it as `job`."""
        return self.state is JobState.IN_PROGRESS and self.claimed_by == job.claimed_by

    def may_be_claimed(self, *, now: int) -> bool:
        expired = self.claim_expires_at is not None and self.claim_expires_at <= now
        return self.state is JobState.QUEUED or (self.state is JobState.IN_PROGRESS and expired)

    def is_like(self, type: str, params: Json) -> bool:
        return not self.state.ended and self.type == type and self.params == params


def new_claim(by: str) -> str:
    """What tells a claim from all others, with who makes it."""
    return f"{by}#{uuid4().hex[:12]}"


def any_job(_: Job) -> bool:
    return True


Wants = Callable[[Job], bool]
"""Whether a process wants a job; a function of the job alone."""

"""The part of the store that is about clients: their tasks, idempotency keys and webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from miroir_cli.store.sqlite import task_queries, tasks
from miroir_cli.store.sqlite.access import Access

if TYPE_CHECKING:
    from miroir_cli.store.tasks import NewTask, Reservation, Task, TaskEnd, TaskQuery, TaskStatus, Webhook


class TaskRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def add_task(self, task: NewTask, *, end: TaskEnd | None = None) -> Task:
        return await self._write(lambda db: tasks.add_task(db, task, end=end))

    async def task(self, uid: int) -> Task | None:
        return self._read(lambda db: task_queries.read_task(db, uid))

    async def require_idle(self, uid: str) -> None:
        """Raise `WorkAhead` when work of the index that is no write has not ended."""
        self._read(lambda db: tasks.require_idle(db, uid))

    async def task_of(self, uid: str, incarnation: int, n: int) -> Task | None:
        return self._read(lambda db: task_queries.read_task_of(db, uid, incarnation, n))

    async def tasks(self, query: TaskQuery) -> tuple[tuple[Task, ...], int]:
        return self._read(lambda db: task_queries.read_tasks(db, query))

    async def task_uids(self, query: TaskQuery) -> tuple[int, ...]:
        return self._read(lambda db: task_queries.read_task_uids(db, query))

    async def count_tasks(self) -> dict[TaskStatus, int]:
        return self._read(task_queries.count_tasks)

    async def task_indexes(self) -> tuple[str, ...]:
        return self._read(task_queries.read_task_indexes)

    async def unfinished_work(self) -> tuple[Task, ...]:
        return self._read(task_queries.read_work)

    async def unfinished_writes(self, *, limit: int) -> dict[str, tuple[Task, ...]]:
        return self._read(lambda db: task_queries.read_writes(db, limit=limit))

    async def any_unfinished(self) -> bool:
        return self._read(task_queries.any_unfinished)

    async def tasks_ahead(self, task: Task, *, intents: bool) -> tuple[Task, ...]:
        return self._read(lambda db: task_queries.read_ahead(db, task, intents=intents))

    async def begin_task(self, uid: int) -> bool:
        return await self._write(lambda db: tasks.begin_task(db, uid), durable=False)

    async def end_tasks(self, ends: Sequence[TaskEnd]) -> int:
        return await self._write(lambda db: tasks.end_tasks(db, ends))

    async def cancel_tasks(self, uids: Sequence[int], *, by: int) -> tuple[int, ...]:
        return await self._write(lambda db: tasks.cancel_tasks(db, uids, by=by))

    async def drop_task(self, uid: int) -> None:
        await self._write(lambda db: tasks.drop_task(db, uid))

    async def delete_tasks(self, uids: Sequence[int]) -> int:
        return await self._write(lambda db: tasks.delete_tasks(db, uids))

    async def prune_tasks(self, *, before: int, keep: int) -> int:
        return await self._write(lambda db: tasks.prune_tasks(db, before=before, keep=keep), durable=False)

    async def untold_tasks(self, *, limit: int) -> tuple[Task, ...]:
        return self._read(lambda db: task_queries.read_untold(db, limit=limit))

    async def tell_tasks(self, uids: Sequence[int]) -> None:
        await self._write(lambda db: tasks.tell(db, uids), durable=False)

    async def reserve(self, reservation: Reservation, *, expires_at: int) -> Reservation | None:
        return await self._write(lambda db: tasks.reserve(db, reservation, expires_at=expires_at))

    async def release(self, reservation: Reservation) -> None:
        await self._write(lambda db: tasks.release(db, reservation))

    async def webhooks(self) -> tuple[Webhook, ...]:
        return self._read(tasks.read_webhooks)

    async def save_webhook(self, webhook: Webhook) -> None:
        await self._write(lambda db: tasks.save_webhook(db, webhook))

    async def delete_webhook(self, uuid: str) -> bool:
        return await self._write(lambda db: tasks.delete_webhook(db, uuid))

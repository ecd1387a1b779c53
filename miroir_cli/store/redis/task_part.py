"""The part of the store that is about clients: their tasks, idempotency keys and webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from miroir_cli.store.redis import idempotency, pruning, task_pages, task_queries, tasks, webhooks
from miroir_cli.store.redis.access import Part

if TYPE_CHECKING:
    from miroir_cli.store.tasks import NewTask, Reservation, Task, TaskEnd, TaskQuery, TaskStatus, Webhook

AT_ONCE = 500
"""Tasks that are changed in one transaction."""

Item = TypeVar("Item")


class Tasks(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def add_task(self, task: NewTask, *, end: TaskEnd | None = None) -> Task:
        return await self.access.write(lambda tx: tasks.add_task(tx, task, end=end))

    async def task(self, uid: int) -> Task | None:
        return await self.access.read(lambda tx: task_queries.read_task(tx, uid))

    async def task_of(self, uid: str, incarnation: int, n: int) -> Task | None:
        return await self.access.read(lambda tx: task_queries.read_task_of(tx, uid, incarnation, n))

    async def tasks(self, query: TaskQuery) -> tuple[tuple[Task, ...], int]:
        return await self.access.read(lambda tx: task_pages.read_tasks(tx, query))

    async def task_uids(self, query: TaskQuery) -> tuple[int, ...]:
        return await self.access.read(lambda tx: task_pages.read_task_uids(tx, query))

    async def count_tasks(self) -> dict[TaskStatus, int]:
        return await self.access.read(task_queries.count_tasks)

    async def task_indexes(self) -> tuple[str, ...]:
        return await self.access.read(task_queries.read_task_indexes)

    async def unfinished_work(self) -> tuple[Task, ...]:
        return await self.access.read(task_queries.read_work)

    async def unfinished_writes(self, *, limit: int) -> dict[str, tuple[Task, ...]]:
        return await self.access.read(lambda tx: task_queries.read_writes(tx, limit=limit))

    async def any_unfinished(self) -> bool:
        return await self.access.read(task_queries.any_unfinished)

    async def tasks_ahead(self, task: Task, *, intents: bool) -> tuple[Task, ...]:
        return await self.access.read(lambda tx: task_queries.read_ahead(tx, task, intents=intents))

    async def untold_tasks(self, *, limit: int) -> tuple[Task, ...]:
        return await self.access.read(lambda tx: task_queries.read_untold(tx, limit=limit))

    async def require_idle(self, uid: str) -> None:
        """Raise `WorkAhead` when work of the index that is no write has not ended."""
        await self.access.read(lambda tx: tasks.require_idle(tx, uid))

    async def begin_task(self, uid: int) -> bool:
        return await self.access.write(lambda tx: tasks.begin_task(tx, uid))

    async def end_tasks(self, ends: Sequence[TaskEnd]) -> int:
        done = 0
        for page in pages(ends):
            done += await self.access.write(partial(tasks.end_tasks, ends=page))
        return done

    async def cancel_tasks(self, uids: Sequence[int], *, by: int) -> tuple[int, ...]:
        canceled: list[int] = []
        for page in pages(uids):
            canceled += await self.access.write(partial(tasks.cancel_tasks, uids=page, by=by))
        return tuple(canceled)

    async def drop_task(self, uid: int) -> None:
        await self.access.write(lambda tx: tasks.drop_task(tx, uid))

    async def delete_tasks(self, uids: Sequence[int]) -> int:
        deleted = 0
        for page in pages(uids):
            deleted += await self.access.write(partial(tasks.delete_tasks, uids=page))
        return deleted

    async def tell_tasks(self, uids: Sequence[int]) -> None:
        for page in pages(uids):
            await self.access.write(partial(tasks.tell_tasks, uids=page))

    async def prune_tasks(self, *, before: int, keep: int) -> int:
        return await pruning.prune_tasks(self.access, before=before, keep=keep)

    async def reserve(self, reservation: Reservation, *, expires_at: int) -> Reservation | None:
        return await self.access.write(lambda tx: idempotency.reserve(tx, reservation, expires_at=expires_at))

    async def release(self, reservation: Reservation) -> None:
        await self.access.write(lambda tx: idempotency.release(tx, reservation))

    async def webhooks(self) -> tuple[Webhook, ...]:
        return await self.access.read(webhooks.read_webhooks)

    async def save_webhook(self, webhook: Webhook) -> None:
        await self.access.write(lambda tx: webhooks.save_webhook(tx, webhook))

    async def delete_webhook(self, uuid: str) -> bool:
        return await self.access.write(lambda tx: webhooks.delete_webhook(tx, uuid))


def pages(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """`AT_ONCE` of them, and then the next ones."""
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]

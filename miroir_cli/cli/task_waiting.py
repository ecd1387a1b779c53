"""What `miroir tasks wait` waits for: queues that become empty, and tasks that end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.cli.table import counted
from miroir_cli.cli.task_view import client_task
from miroir_cli.errors import PartialError, TemporaryError

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console
    from miroir_cli.cluster import Cluster
    from miroir_cli.queues.look import Waiting, Wanted

PAUSE = 0.5
"""Seconds between two looks at the queues that are waited for."""


async def wait_for_queues(console: Console, cluster: Cluster, wanted: Wanted, deadline: float | None) -> None:
    import asyncio

    from miroir_cli.queues.look import count_waiting

    began = time.monotonic()
    with console.progress() as progress:
        lane = progress.lane("tasks done", unit="tasks")
        most = 0
        while True:
            found = await count_waiting(cluster, wanted)
            most = max(most, found.total)
            lane.update(most - found.total, total=most or None, note=_longest(found))
            if not found.total:
                break
            if deadline is not None and time.monotonic() + PAUSE > deadline:
                raise TemporaryError(
                    f"{counted(found.total, 'task')} left in the queues ({_longest(found)})",
                    hint="run the same command again, or `miroir tasks list` to see how long they take",
                )
            await asyncio.sleep(PAUSE)
    document = {
        "nodes": [{"name": name, "left": left} for name, left in found.left.items()],
        "silent": sorted(found.silent),
        "seconds": round(time.monotonic() - began, 3),
    }
    console.show(document, lambda: console.print(f"nothing waits on {', '.join(found.left) or 'any node'}"))
    raise_silence(found.silent)


def _longest(found: Waiting) -> str:
    return ", ".join(f"{left:,} on {name}" for name, left in found.left.items() if left)


async def wait_for_tasks(
    console: Console, cluster: Cluster, names: Sequence[tuple[Any, int] | int], deadline: float | None
) -> None:
    import asyncio

    began = time.monotonic()
    ended: dict[str, str] = {}
    with console.progress() as progress:
        lane = progress.lane("tasks done", unit="tasks", total=len(names))
        while True:
            for name in names:
                text = str(name) if isinstance(name, int) else f"{name[0]}/{name[1]}"
                if text not in ended and (status := await _final_status(cluster, name)) is not None:
                    ended[text] = status
            lane.update(len(ended), total=len(names))
            left = len({str(name) for name in names}) - len(ended)
            if left <= 0:
                break
            if deadline is not None and time.monotonic() + PAUSE > deadline:
                raise TemporaryError(f"{counted(left, 'task')} not ended yet", hint="run the same command again")
            await asyncio.sleep(PAUSE)
    document = {
        "tasks": [{"id": name, "status": status} for name, status in ended.items()],
        "seconds": round(time.monotonic() - began, 3),
    }
    told = ", ".join(f"{name} {status}" for name, status in ended.items())
    console.show(document, lambda: console.print(told))
    bad = [name for name, status in ended.items() if status != "succeeded"]
    if bad:
        raise PartialError(f"{', '.join(bad)} did not succeed", hint=f"run `miroir tasks show {bad[0]}`")


async def _final_status(cluster: Cluster, name: tuple[Any, int] | int) -> str | None:
    """How a task ended; None while it has not."""
    if isinstance(name, int):
        status: str = (await client_task(cluster, name))["status"]
        return status if status not in ("enqueued", "processing") else None
    from miroir_cli.queues.look import read_task

    task, _ = await read_task(cluster, *name)
    return task.status if task.final else None


def raise_silence(silent: Mapping[Any, str]) -> None:
    if silent:
        named = ", ".join(f"`{name}`" for name in silent)
        raise PartialError(
            f"{'node' if len(silent) == 1 else 'nodes'} {named} did not answer: {next(iter(silent.values()))}",
            hint="run `miroir status` to see which nodes answer",
        )

"""Sessions: reads that see what the same session wrote before, whichever process took the write."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from miroir_cli import metrics
from miroir_cli.errors import TemporaryError
from miroir_cli.replication.settle import POLL_FIRST, POLL_LONGEST, settle

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

LONGEST_WAIT = 5.0
"""Seconds that a read waits for the writes of its session."""


async def remember_write(cluster: Cluster, session: str, uid: str, n: int, *, incarnation: int | None = None) -> None:
    """Have reads of the session wait for write `n` of an index, for the next 15 minutes. `incarnation`: that of the
    index which was written; when its name stands for another one by now, what was written is searchable already."""
    await cluster.store.remember_session(session, uid, n, incarnation=incarnation)


async def wait_for_session(cluster: Cluster, session: str, uid: str, *, timeout: float = LONGEST_WAIT) -> None:
    """Return once the writes of the session to the index are settled: every replica in sync has them.

    Raises `TemporaryError` when that takes longer than `timeout` seconds.
    """
    n = await cluster.store.session_waits_for(session, uid)
    if n is None:
        return
    begin = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            await _until_settled(cluster, uid, n)
    except TimeoutError:
        metrics.SESSION_TIMEOUTS.inc()
        raise TemporaryError(
            f"what this session wrote to index `{uid}` is not searchable yet after {timeout:g} s",
            hint="ask again, or without `X-Miroir-Session` for what is searchable now",
        ) from None
    finally:
        metrics.SESSION_WAIT.observe(time.monotonic() - begin)


async def _until_settled(cluster: Cluster, uid: str, n: int) -> None:
    """Look at the nodes until write `n` has ended; one look at a time serves all who wait."""
    index = (await cluster.reload(uid)).index
    pause = POLL_FIRST
    while True:
        async with _turn(cluster, uid):
            progress = await cluster.store.progress(uid)
            if progress is None or progress.incarnation != index.incarnation or progress.settled >= n:
                return
            if (await settle(cluster, index)).settled >= n:
                return
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, POLL_LONGEST)


def _turn(cluster: Cluster, uid: str) -> asyncio.Lock:
    lock = cluster.session.setdefault(f"session/{uid}", asyncio.Lock())
    assert isinstance(lock, asyncio.Lock)
    return lock

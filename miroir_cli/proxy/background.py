"""What is done beside answering, once for all processes that serve the cluster: keep it whole, and the gauges true.

Each process holds a lock that says that it serves; so each knows the others, and which of them is to do which chore
(`shares.py`). A lock for each chore makes sure that nobody else does it meanwhile: when its holder dies, the lock is
free, and the next one goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miroir_cli.errors import LeaseLost, Locked, MiroirError, Refused, TemporaryError
from miroir_cli.indexes.drift import mend_drift
from miroir_cli.migration.heal import curable
from miroir_cli.migration.repair import repair
from miroir_cli.migration.run import RunOptions
from miroir_cli.migration.verify import VerifyOptions, verify
from miroir_cli.proxy.gauges import measure
from miroir_cli.proxy.shares import CHORE, PEER, chosen, peers_of
from miroir_cli.proxy.workers import SUPERVISOR
from miroir_cli.store.journal import RunKind
from miroir_cli.store.processes import host_name, this_process
from miroir_cli.tasks.finishing import keep_finishing

if TYPE_CHECKING:
    from miroir_cli.proxy.service import Service

RETRY = 2.0
"""Seconds after which a process asks again which of the others still live."""

VERIFY_RATE = 5_000
"""Documents a second that are compared beside the requests of clients."""

LOG = logging.getLogger("miroir.serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something done every so many seconds; whatever goes wrong is logged and tried again.

    `everywhere`: once for each proxy, whose workers share their metrics, and not once for all.
    """

    name: str
    every: float
    work: Callable[[Service], Awaitable[None]]
    everywhere: bool = False


async def heal(service: Service) -> None:
    """Catch up with replicas that missed writes, once their nodes answer."""
    cluster = service.cluster
    if not service.settings.heal:
        return
    for index in await cluster.store.indexes():
        nodes = await curable(cluster, index.uid)
        if nodes:
            with suppress(Locked, Refused, TemporaryError):
                outcome = await repair(cluster, indexes=[index.uid], options=RunOptions(retry_for=5.0))
                if outcome.result is not None:
                    LOG.info("replicas mended", extra={"index": index.uid, "nodes": sorted(nodes)})


async def mend_settings(service: Service) -> None:
    """Put back what somebody changed in the settings of a node."""
    for uid, nodes in (await mend_drift(service.cluster)).items():
        LOG.warning("settings of an index were put back", extra={"index": uid, "nodes": list(nodes)})


async def look_for_differences(service: Service) -> None:
    """Compare all replicas, when nobody has for as long as `[serve] verify_every` says."""
    every = service.settings.verify_every
    if not every:
        return
    cluster = service.cluster
    begun = [run.started_at for run in await cluster.store.runs() if run.kind is RunKind.VERIFY and run.state.ended]
    if begun and time.time() - max(begun) / 1000 < every:
        return
    with suppress(Locked):
        found = await verify(cluster, options=VerifyOptions(rate=VERIFY_RATE))
        extra = {"shards": found.shards, "documents": found.documents, "differences": len(found.differences)}
        LOG.log(logging.WARNING if found.differences else logging.INFO, "replicas were compared", extra=extra)


async def mend_keys(service: Service) -> None:
    """Give the nodes that share the master key the keys that they missed."""
    mended = await service.keyring.mend()
    if mended:
        LOG.info("API keys of the nodes were mended", extra={"keys": mended})


async def tidy_fences(service: Service) -> None:
    """Take away what processes that died have left on the nodes."""
    if service.cluster.fencing is not None:
        await service.cluster.fencing.tidy()


CHORES = (
    Chore(name="gauges", every=5.0, work=measure, everywhere=True),
    Chore(name="heal", every=2.0, work=heal),
    Chore(name="settings", every=30.0, work=mend_settings),
    Chore(name="verify", every=60.0, work=look_for_differences),
    Chore(name="keys", every=30.0, work=mend_keys),
    Chore(name="fences", every=30.0, work=tidy_fences),
)


def start(service: Service) -> None:
    """Begin what goes on beside the requests, until the service closes."""
    service.spawn(keep(service), name="chores")
    service.spawn(keep_finishing(service.cluster), name="tasks")


async def keep(service: Service) -> None:
    """Take part in doing the chores, until cancelled."""
    while True:
        try:
            async with service.cluster.locks.once(f"{PEER}{this_process()}"), asyncio.TaskGroup() as group:
                for chore in CHORES:
                    group.create_task(_share(service, chore))
        except* MiroirError as errors:
            reasons = [str(error) for error in errors.exceptions]
            LOG.info("this process takes part in the chores again soon", extra={"reasons": reasons})
        await asyncio.sleep(RETRY)


async def _share(service: Service, chore: Chore) -> None:
    """Do a chore as long as it is this process's, and nobody else still does it."""
    while True:
        if await _is_mine(service, chore):
            with suppress(Locked):
                async with service.cluster.locks.once(f"{CHORE}{_work_of(chore)}"):
                    while await _is_mine(service, chore):
                        await _attempt(service, chore)
                        await asyncio.sleep(chore.every)
        await asyncio.sleep(RETRY)


async def _is_mine(service: Service, chore: Chore) -> bool:
    """Whether this process is the one that is to do a chore, among those that live. While nobody can tell, whoever
    does it goes on: the store refuses a holder that has lost its lock."""
    if chore.everywhere:
        return True
    try:
        peers = peers_of([lock.name for lock in await service.cluster.locks.held()])
    except MiroirError as error:
        LOG.debug("peers cannot be told", extra={"reason": error.message})
        return True
    return chosen(chore.name, peers) in (None, str(this_process()))


def _work_of(chore: Chore) -> str:
    """What is done once: the chore, or this proxy's part of it."""
    return f"{chore.name}.{host_name()}.{os.environ.get(SUPERVISOR, os.getpid())}" if chore.everywhere else chore.name


async def _attempt(service: Service, chore: Chore) -> None:
    """Do a chore once. A cancellation stays one where its work has made an error of it (a run that stops at a clean
    place does)."""
    try:
        await chore.work(service)
    except LeaseLost:
        raise
    except MiroirError as error:
        if not _is_cancelled():
            LOG.warning("a chore failed", extra={"chore": chore.name, "reason": error.message})
    except Exception:
        LOG.exception("a chore failed", extra={"chore": chore.name})
    if _is_cancelled():
        raise asyncio.CancelledError


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

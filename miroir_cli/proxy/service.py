"""What every handler is given: the cluster and what the proxy keeps beside it."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from miroir_cli.cluster import Cluster, open_cluster
from miroir_cli.errors import ApiError, MiroirError
from miroir_cli.node.features import Features, keep_learning
from miroir_cli.node.watch import NodeWatch
from miroir_cli.proxy.keyring import Keyring
from miroir_cli.replication.members import refuse_lost_state
from miroir_cli.search.flights import Flights
from miroir_cli.tasks.registry import finish_all
from miroir_cli.topology.file import resolve_key

if TYPE_CHECKING:
    from miroir_cli.store.aliases import Alias
    from miroir_cli.topology.file import Topology
    from miroir_cli.topology.serve import ServeSettings


LOG = logging.getLogger("miroir.serve")


@dataclass(kw_only=True)
class Service:
    """One worker's part of the proxy. `aliases`: those of the cluster when it looked at them last, by name."""

    cluster: Cluster
    settings: ServeSettings
    keyring: Keyring
    admin_key: str | None = field(default=None, repr=False)
    flights: Flights = field(default_factory=Flights)
    aliases: dict[str, Alias] | None = None
    _spawned: set[asyncio.Task[Any]] = field(default_factory=set, repr=False)

    def spawn(self, work: Awaitable[Any], *, name: str) -> asyncio.Task[Any]:
        """Do something beside the requests; it is cancelled when the service closes, its errors are logged."""
        task = asyncio.ensure_future(work)
        self._spawned.add(task)
        task.add_done_callback(lambda done: self._ended(done, name))
        return task

    def require_admin(self, headers: Mapping[str, str]) -> None:
        """Raise unless the caller shows the admin key."""
        if self.admin_key is None:
            raise ApiError(
                "miroir_invalid_auth",
                "The admin API is closed: the topology file names no key for it",
                status=403,
                hint="name one in `[serve.admin]`",
            )
        shown = headers.get("x-admin-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(shown.encode(), self.admin_key.encode()):
            raise ApiError("miroir_invalid_auth", "The admin key is missing or wrong.")

    async def close(self) -> None:
        """End what was spawned, once work on indexes that clients asked for is done, if it ends soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.stop_timeout):
                await finish_all(self.cluster)
        for task in list(self._spawned):
            task.cancel()
        await asyncio.gather(*self._spawned, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any], name: str) -> None:
        self._spawned.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, MiroirError):
            LOG.warning("background work failed", extra={"work": name, "reason": error.message})
        elif error is not None:
            LOG.error("background work failed", extra={"work": name}, exc_info=error)


@asynccontextmanager
async def open_service(topology: Topology, *, command: str = "miroir serve") -> AsyncIterator[Service]:
    """Open the cluster for a process that lives long. Raises when a key of `[serve]` cannot be had, and `EpochStale`
    when the state was lost."""
    settings, base = topology.serve, topology.path.parent
    own = await asyncio.to_thread(resolve_key, settings.key, base=base)
    admin_key = await asyncio.to_thread(resolve_key, settings.admin_key, base=base)
    watch = NodeWatch(adaptive=settings.adaptive, hedging=settings.hedge)
    async with open_cluster(topology, command=command, lean_reads=True, watch=watch, lasting=True) as cluster:
        await refuse_lost_state(cluster)
        cluster.features = Features()
        keyring = Keyring(cluster, own=own)
        service = Service(cluster=cluster, settings=settings, keyring=keyring, admin_key=admin_key)
        service.spawn(keep_learning(cluster.features, cluster.fleet), name="features of the nodes")
        if cluster.last_known is not None:
            service.spawn(cluster.last_known.keep_listening(), name="the state store")
        try:
            yield service
        finally:
            await service.close()

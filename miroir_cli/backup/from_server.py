"""`copy_from`: an index of a plain Meilisearch into the cluster, with its primary key and settings. `copy_to`: back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from miroir_cli.backup.adopt import Adopted, adopt
from miroir_cli.backup.copying import ClusterIndex, Copied, Copy, CopyProgress, ServerIndex
from miroir_cli.backup.journal import Remembered
from miroir_cli.backup.manifest import missing_secrets
from miroir_cli.backup.restore import folder_of
from miroir_cli.errors import AlreadyExists, IndexNotFound, PrimaryKeyRequired, Refused
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.indexes.differences import defaults_from
from miroir_cli.indexes.primary_key import set_primary_key
from miroir_cli.indexes.settings import merge, validate
from miroir_cli.model import RESERVED_INDEX
from miroir_cli.replication.members import call_roll

if TYPE_CHECKING:
    from miroir_cli.backup.plain import PlainServer
    from miroir_cli.cluster import Cluster

Report = Callable[[CopyProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How to copy. `settings` are put over those of the server; `rate` is in documents a second."""

    shards: int | None = None
    primary_key: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    rate: int | None = None
    delete: bool = False
    restart: bool = False
    retry_for: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What a copy from a server is about to do: `settings` None where the index is there already, with its own."""

    uid: str
    origin: str
    primary_key: str
    documents: int
    settings: Mapping[str, Any] | None
    unknown: tuple[str, ...] = ()


async def plan_copy_from(
    cluster: Cluster, server: PlainServer, uid: str, *, origin: str, options: CopyOptions
) -> Arrival:
    """Look at both ends. Raises `IndexNotFound`, `PrimaryKeyRequired`, `Refused` when a secret is missing, and what is
    wrong with the settings."""
    found = await server.index(origin)
    if found is None:
        names = ", ".join(f"`{each['uid']}`" for each in await server.indexes()) or "no index"
        raise IndexNotFound(f"index `{origin}` not found on `{server.url}`", hint=f"it has {names}")
    count = await server.count(origin)
    key = found["primaryKey"] or options.primary_key
    if key is None and count:
        raise PrimaryKeyRequired(
            f"index `{origin}` of `{server.url}` has no primary key", hint="name it: `--primary-key`"
        )
    there = await cluster.store.map(uid)
    if there is not None:
        if there.index.primary_key not in ("", key or ""):
            raise AlreadyExists(
                f"index `{uid}` has the primary key `{there.index.primary_key}`, not `{key}`",
                hint="copy it under another uid: `miroir import OTHER --from URL --from-index " + origin + "`",
            )
        return Arrival(uid=uid, origin=origin, primary_key=key or "", documents=count, settings=None)
    adopted = await _settings(cluster, server, origin)
    missing = missing_secrets(adopted.secrets, options.settings)
    if missing:
        raise Refused(
            f"`{server.url}` does not show `{missing[0]}` of index `{origin}`",
            hint="give it in a file with `--settings FILE`, or null there to do without it",
        )
    settings = merge(adopted.settings, validate(dict(options.settings), source="--settings"))
    return Arrival(
        uid=uid, origin=origin, primary_key=key or "", documents=count, settings=settings, unknown=adopted.unknown
    )


async def _settings(cluster: Cluster, server: PlainServer, origin: str) -> Adopted:
    """The server's settings as far as they are not the defaults of the cluster's nodes."""
    roll = await call_roll(cluster)
    reserved = await cluster.fleet[roll.present[0]].settings(RESERVED_INDEX)
    return adopt(await server.settings(origin), defaults_from(reserved))


async def copy_from(
    cluster: Cluster, server: PlainServer, arrival: Arrival, *, options: CopyOptions, report: Report
) -> Copied:
    """Create the index if it is missing, and copy what it lacks of the server's documents."""
    uid = arrival.uid
    if arrival.settings is not None:
        plan = await plan_index(
            cluster,
            uid,
            primary_key=arrival.primary_key or None,
            shards=options.shards,
            settings=arrival.settings,
            source=f"settings of `{arrival.origin}`",
        )
        await create_index(cluster, plan)
    elif arrival.primary_key and not (await cluster.reload(uid)).index.primary_key:
        await set_primary_key(cluster, uid, arrival.primary_key)
    incarnation = (await cluster.reload(uid)).index.incarnation
    kept = {"from": server.url, "index": arrival.origin, "to": uid, "incarnation": incarnation}
    name = f"{server.url}/indexes/{arrival.origin}"
    origin = ServerIndex(server, arrival.origin, arrival.primary_key)
    destination = ClusterIndex(cluster, uid, name=name, retry_for=options.retry_for)
    copy = _copy(cluster, origin, destination, kept, options=options, report=report)
    async with cluster.locks.once(f"copy-{copy.memory.path.stem}"):
        return await copy.run()


async def copy_to(
    cluster: Cluster, server: PlainServer, uid: str, *, there: str, options: CopyOptions, report: Report
) -> Copied:
    """Copy an index of the cluster into a server, which gets it with its settings if it has none of that uid."""
    index = (await cluster.reload(uid)).index
    found = await server.index(there)
    if found is None:
        settings = merge(index.settings, validate(dict(options.settings), source="--settings"))
        await server.create(there, index.primary_key, settings)
    elif found["primaryKey"] not in (None, index.primary_key):
        raise AlreadyExists(
            f"index `{there}` of `{server.url}` has the primary key `{found['primaryKey']}`, not `{index.primary_key}`",
            hint="copy it under another uid: `--to-index OTHER`",
        )
    kept = {"to": server.url, "index": there, "from": uid, "incarnation": index.incarnation}
    origin, destination = ClusterIndex(cluster, uid, name=uid), ServerIndex(server, there, index.primary_key)
    return await _copy(cluster, origin, destination, kept, options=options, report=report).run()


def _copy(
    cluster: Cluster,
    origin: ServerIndex | ClusterIndex,
    destination: ServerIndex | ClusterIndex,
    kept: Mapping[str, object],
    *,
    options: CopyOptions,
    report: Report,
) -> Copy:
    """A copy that remembers how far it came under what `kept` says of it."""
    return Copy(
        origin=origin,
        destination=destination,
        memory=Remembered(folder_of(cluster.topology), kept),
        uid=destination.uid,
        rate=options.rate,
        delete=options.delete,
        restart=options.restart,
        report=report,
    )

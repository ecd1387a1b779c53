"""Signs of life."""

from __future__ import annotations

from miroir_cli.errors import MiroirError, ShardUnavailable
from miroir_cli.proxy.router import Call, Reply, Route

HEALTH_TIMEOUT = 2.0
"""Seconds within which a node has to answer to count as one that does."""


async def hello(_: Call) -> Reply:
    """`GET /`."""
    return Reply(body={"status": "Meilisearch is running"})


async def health(call: Call) -> Reply:
    """`GET /health`: available while every shard has an in-sync replica on a node that answers."""
    cluster = call.service.cluster
    found = await cluster.fleet.each(lambda client: client.health(timeout=HEALTH_TIMEOUT))
    living = {name for name, error in found.items() if not isinstance(error, MiroirError)}
    for index_map in await cluster.store.maps():
        for shard, nodes in index_map.in_sync().items():
            if not living.intersection(nodes):
                raise ShardUnavailable(f"no in-sync replica of shard {shard} of index `{index_map.index.uid}` answers")
    if not living:
        raise ShardUnavailable("no node answers")
    return Reply(body={"status": "available"})


async def version(call: Call) -> Reply:
    """`GET /version`: that of the oldest node."""
    cluster = call.service.cluster
    found = await cluster.fleet.each(lambda client: client.get("version"))
    versions = [each for each in found.values() if isinstance(each, dict)]
    if not versions:
        raise next(error for error in found.values() if isinstance(error, MiroirError))
    oldest = min(versions, key=lambda each: [int(part) for part in each["pkgVersion"].split(".") if part.isdigit()])
    known = ("commitSha", "commitDate", "pkgVersion")
    return Reply(body={name: oldest[name] for name in known if name in oldest})


ROUTES = (
    Route("GET", "/", None, hello),
    Route("GET", "/health", None, health),
    Route("GET", "/version", "version", version),
)

"""Aliases, in the admin API: what names stand for, and letting them stand for something else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from miroir_cli.errors import ApiError
from miroir_cli.indexes.aliases import create_alias, delete_alias, find_alias, flip_alias
from miroir_cli.proxy.journal import kept
from miroir_cli.proxy.router import ADMIN, Call, Reply, Route
from miroir_cli.store.aliases import AliasKind


async def aliases(call: Call) -> Reply:
    """All aliases."""
    found = await call.service.cluster.store.aliases()
    return Reply(body={"aliases": [alias.json() for alias in found]})


async def alias(call: Call) -> Reply:
    """What a name stands for, and what it stood for."""
    return Reply(body=(await find_alias(call.service.cluster, call.path["alias"])).json())


async def make_alias(call: Call) -> Reply:
    """Let a name that nothing has stand for an index, or for several that are searched as one."""
    asked = _object(call, ("name", "kind", "targets"), required=("name", "targets"))
    if not isinstance(asked["name"], str):
        raise ApiError("bad_request", "`name` is not a text")
    targets = _targets(asked)
    kind = asked.get("kind", "multi" if len(set(targets)) > 1 else "single")
    if kind not in ("single", "multi"):
        raise ApiError("bad_request", "`kind` is neither `single` nor `multi`")
    made = await create_alias(call.service.cluster, asked["name"], targets, kind=AliasKind(kind))
    return Reply(status=201, body=made.json())


async def turn_alias(call: Call) -> Reply:
    """Let an alias stand for another index, or for others; with `version` only if it is still as it was then."""
    asked = _object(call, ("targets", "version"), required=("targets",))
    version = asked.get("version")
    if version is not None and type(version) is not int:
        raise ApiError("bad_request", "`version` is not a whole number")
    found = await flip_alias(call.service.cluster, call.path["alias"], _targets(asked), version=version)
    return Reply(body=found.json())


async def drop_alias(call: Call) -> Reply:
    """Let a name stand for nothing any more; its indexes stay."""
    await delete_alias(call.service.cluster, call.path["alias"])
    return Reply(status=204)


def _object(call: Call, known: Iterable[str], *, required: Iterable[str]) -> dict[str, Any]:
    asked = call.json()
    if not isinstance(asked, dict):
        raise ApiError("bad_request", "the body is not an object")
    if unknown := set(asked) - set(known):
        raise ApiError("bad_request", f"`{min(unknown)}` is not a key that miroir knows")
    for name in required:
        if name not in asked:
            raise ApiError("bad_request", f"`{name}` is missing")
    return asked


def _targets(asked: dict[str, Any]) -> list[str]:
    targets = asked["targets"]
    if not isinstance(targets, list) or not all(isinstance(each, str) for each in targets):
        raise ApiError("bad_request", "`targets` is not a list of uids of indexes")
    return targets


ROUTES = (
    Route("GET", "/_miroir/aliases", ADMIN, aliases),
    Route("POST", "/_miroir/aliases", ADMIN, kept("serve: alias create", make_alias)),
    Route("GET", "/_miroir/aliases/{alias}", ADMIN, alias),
    Route("PUT", "/_miroir/aliases/{alias}", ADMIN, kept("serve: alias flip", turn_alias)),
    Route("DELETE", "/_miroir/aliases/{alias}", ADMIN, kept("serve: alias delete", drop_alias)),
)

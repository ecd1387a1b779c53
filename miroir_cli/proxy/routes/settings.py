"""The settings of an index: all of them, and each at an address of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import AlreadyExists, IndexNotFound, NodeRefusal
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.indexes.configure import change_settings, get_settings
from miroir_cli.indexes.settings import KEYS, validate
from miroir_cli.node.client import path_of
from miroir_cli.proxy.forward import json_of, refused_by_a_node
from miroir_cli.proxy.parameters import read_parameters
from miroir_cli.proxy.router import Call, Reply, Route
from miroir_cli.proxy.routes.features import OURS
from miroir_cli.proxy.setting_bodies import ORDER, all_reset, details_of
from miroir_cli.proxy.work import accepted
from miroir_cli.wire import not_supported

if TYPE_CHECKING:
    from miroir_cli.model import Json

PARTLY = ("typoTolerance", "faceting", "pagination", "embedders", "chat")
"""Settings that are patched part by part; the others are put as a whole."""

REFUSED = {"foreignKeys": OURS["foreignKeys"], "chat": OURS["chatCompletions"]}
"""Settings that clients cannot change, with the reasons."""

NOWHERE = "/indexes/%20/settings"
"""An address at which a node looks at a body, and then finds that it names no index."""


async def get_all(call: Call) -> Reply:
    """`GET /indexes/{uid}/settings`."""
    read_parameters(call.query, {})
    found = await get_settings(call.service.cluster, await call.index())
    return Reply(body={name: found[name] for name in (*ORDER, *found) if name in found})


async def patch_all(call: Call) -> Reply:
    """`PATCH /indexes/{uid}/settings`."""
    body = await json_of(call)
    await _have_a_node_look(call, NOWHERE)
    return await _change(call, body)


async def reset_all(call: Call) -> Reply:
    """`DELETE /indexes/{uid}/settings`."""
    return await _change(call, dict.fromkeys(KEYS), details=all_reset(), creates=False)


def _one(name: str) -> tuple[Route, Route, Route]:
    kebab = re.sub(r"[A-Z]", lambda letter: f"-{letter[0].lower()}", name)
    path = f"/indexes/{{uid}}/settings/{kebab}"

    async def get(call: Call) -> Reply:
        found = await get_settings(call.service.cluster, await call.index())
        if name in REFUSED:
            return Reply(body=await _of_a_node(call, kebab))
        return Reply(body=msgspec.json.encode(found.get(name)))  # null is a value, not an empty body

    async def put(call: Call) -> Reply:
        body = await json_of(call)
        await _have_a_node_look(call, f"{NOWHERE}/{kebab}")
        return await _change(call, {name: body})

    async def delete(call: Call) -> Reply:
        return await _change(call, {name: None}, creates=False)

    return (
        Route("GET", path, "settings.get", get),
        Route("PATCH" if name in PARTLY else "PUT", path, "settings.update", put),
        Route("DELETE", path, "settings.update", delete),
    )


async def _of_a_node(call: Call, kebab: str) -> Any:
    """What a node in sync says of a setting that clients cannot change, and that is as it made it."""
    cluster = call.service.cluster
    map = await cluster.reload(await call.index())
    name = min(name for names in map.in_sync().values() for name in names if name in cluster.fleet)
    return await cluster.fleet[name].get(path_of(map.index.stored_as, f"settings/{kebab}"))


async def _have_a_node_look(call: Call, nowhere: str) -> None:
    """Raise what a node finds wrong with the body; it changes nothing."""
    refused = await refused_by_a_node(call, nowhere)
    if refused is not None and not (isinstance(refused, NodeRefusal) and refused.node_code == "invalid_index_uid"):
        raise refused


async def _change(call: Call, patch: dict[str, Any], *, details: Json | None = None, creates: bool = True) -> Reply:
    """A task that changes the settings, and makes the index if it is missing and the caller may do that."""
    uid = await call.index(written=True)
    for name, reason in REFUSED.items():
        if patch.get(name):
            raise not_supported(f"the setting `{name}`", reason)
    details = details_of(patch) if details is None else details
    patch = {name: value for name, value in patch.items() if name not in REFUSED}
    validate(patch, source="settings")
    cluster = call.service.cluster
    creates = creates and call.caller.may("indexes.create", call.uid)

    async def work() -> None:
        if creates:
            await _require_index(call, uid)
        await change_settings(cluster, uid, patch)

    names = call.names_of(uid)
    return await accepted(call, work, type="settingsUpdate", uid=uid, details=details, indexes=names)


async def _require_index(call: Call, uid: str) -> None:
    cluster = call.service.cluster
    try:
        await cluster.reload(uid)
    except IndexNotFound:
        try:
            await create_index(cluster, await plan_index(cluster, uid, primary_key=None))
        except AlreadyExists:
            await cluster.reload(uid)


ROUTES = (
    Route("GET", "/indexes/{uid}/settings", "settings.get", get_all),
    Route("PATCH", "/indexes/{uid}/settings", "settings.update", patch_all),
    Route("DELETE", "/indexes/{uid}/settings", "settings.update", reset_all),
    *(route for name in ORDER for route in _one(name)),
)

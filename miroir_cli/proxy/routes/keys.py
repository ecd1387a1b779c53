"""API keys."""

from __future__ import annotations

from miroir_cli.proxy.forward import json_of
from miroir_cli.proxy.journal import kept
from miroir_cli.proxy.parameters import Parameter, read_parameters, whole
from miroir_cli.proxy.router import Call, Reply, Route
from miroir_cli.proxy.shapes import object_in

PAGE = {"offset": Parameter(whole, "invalid_api_key_offset"), "limit": Parameter(whole, "invalid_api_key_limit")}
DEFAULT_LIMIT = 20


async def list_keys(call: Call) -> Reply:
    """`GET /keys`."""
    values = read_parameters(call.query, PAGE)
    offset, limit = values.get("offset", 0), values.get("limit", DEFAULT_LIMIT)
    keys = await call.service.keyring.listed()
    page = keys[offset : offset + limit]
    return Reply(body={"results": page, "offset": offset, "limit": limit, "total": len(keys)})


async def create_key(call: Call) -> Reply:
    """`POST /keys`."""
    return Reply(status=201, body=await call.service.keyring.create(object_in(await json_of(call))))


async def show_key(call: Call) -> Reply:
    """`GET /keys/{key}`: by its uid or its value."""
    return Reply(body=await call.service.keyring.get(call.path["key"]))


async def change_key(call: Call) -> Reply:
    """`PATCH /keys/{key}`: its name and description."""
    return Reply(body=await call.service.keyring.change(call.path["key"], object_in(await json_of(call))))


async def delete_key(call: Call) -> Reply:
    """`DELETE /keys/{key}`."""
    await call.service.keyring.delete(call.path["key"])
    return Reply(status=204)


ROUTES = (
    Route("GET", "/keys", "keys.get", list_keys),
    Route("POST", "/keys", "keys.create", kept("serve: create key", create_key)),
    Route("GET", "/keys/{key}", "keys.get", show_key),
    Route("PATCH", "/keys/{key}", "keys.update", kept("serve: change key", change_key)),
    Route("DELETE", "/keys/{key}", "keys.delete", kept("serve: delete key", delete_key)),
)

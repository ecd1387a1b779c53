"""Webhooks: made, shown, changed, deleted."""

from __future__ import annotations

import re
import uuid
from typing import Any

from miroir_cli.errors import ApiError
from miroir_cli.proxy.forward import json_of
from miroir_cli.proxy.router import Call, Reply, Route
from miroir_cli.proxy.shapes import immutable, object_in, text_in, wrong_kind
from miroir_cli.proxy.spelling import refuse_unknown
from miroir_cli.store.tasks import Webhook
from miroir_cli.tasks.webhooks import MOST, changed, shown

FIELDS = ("url", "headers")
IMMUTABLE = {"uuid": "immutable_webhook_uuid", "isEditable": "immutable_webhook_is_editable"}
NOBODYS = "00000000-0000-0000-0000-000000000000"


async def _wanted(call: Call) -> dict[str, Any]:
    """The body, whose fields are of the right kinds."""
    found = object_in(await json_of(call))
    for name in found:
        if name in IMMUTABLE:
            raise immutable(name, FIELDS, code=IMMUTABLE[name])
    refuse_unknown(found, FIELDS, what="field")
    url, headers = found.get("url"), found.get("headers")
    if url is not None:
        text_in(url, code="invalid_webhook_url", where=".url")
    if headers is not None and not isinstance(headers, dict):
        raise wrong_kind(headers, "an object", code="invalid_webhook_headers", where=".headers")
    for name, value in (headers or {}).items():
        if value is not None:
            text_in(value, code="invalid_webhook_headers", where=f".headers.{name}")
    return found


async def _named(call: Call) -> Webhook:
    """The webhook that the path names."""
    given = call.path["id"]
    compact = given.replace("-", "")
    wrong = re.search(r"[^0-9a-fA-F-]", given)
    if wrong is not None:
        raise ApiError(
            "invalid_webhook_uuid", f"Invalid UUID: invalid character: found `{wrong[0]}` at {wrong.start()}"
        )
    if len(compact) != 32:
        raise ApiError("invalid_webhook_uuid", f"Invalid UUID: invalid length: found {len(given)}")
    name = str(uuid.UUID(compact))
    if name == NOBODYS and call.method != "GET":
        raise ApiError(
            "immutable_webhook",
            f"Webhook `{name}` is immutable. "
            "The webhook defined from the command line cannot be modified using the API.",
        )
    for webhook in await call.service.cluster.store.webhooks():
        if webhook.uuid == name:
            return webhook
    raise ApiError("webhook_not_found", f"Webhook `{name}` not found.")


async def list_webhooks(call: Call) -> Reply:
    """`GET /webhooks`."""
    return Reply(body={"results": list(map(shown, await call.service.cluster.store.webhooks()))})


async def create_webhook(call: Call) -> Reply:
    """`POST /webhooks`."""
    wanted = await _wanted(call)
    store = call.service.cluster.store
    if len(await store.webhooks()) >= MOST:
        raise ApiError(
            "invalid_webhooks",
            "Defining too many webhooks would crush the server. Please limit the number of webhooks to 20. "
            "You may use a third-party proxy server to dispatch events to more than 20 endpoints.",
        )
    webhook = changed(Webhook(uuid=str(uuid.uuid4()), url=""), wanted)
    await store.save_webhook(webhook)
    return Reply(status=201, body=shown(webhook))


async def one_webhook(call: Call) -> Reply:
    """`GET /webhooks/{id}`."""
    return Reply(body=shown(await _named(call)))


async def change_webhook(call: Call) -> Reply:
    """`PATCH /webhooks/{id}`."""
    wanted = await _wanted(call)
    webhook = changed(await _named(call), wanted)
    await call.service.cluster.store.save_webhook(webhook)
    return Reply(body=shown(webhook))


async def delete_webhook(call: Call) -> Reply:
    """`DELETE /webhooks/{id}`."""
    await call.service.cluster.store.delete_webhook((await _named(call)).uuid)
    return Reply(status=204)


ROUTES = (
    Route("GET", "/webhooks", "webhooks.get", list_webhooks),
    Route("POST", "/webhooks", "webhooks.create", create_webhook),
    Route("GET", "/webhooks/{id}", "webhooks.get", one_webhook),
    Route("PATCH", "/webhooks/{id}", "webhooks.update", change_webhook),
    Route("DELETE", "/webhooks/{id}", "webhooks.delete", delete_webhook),
)

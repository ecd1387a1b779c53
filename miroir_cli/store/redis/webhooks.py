"""Webhooks: `miroir:webhooks:<uuid>` has the url, and the headers as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.tasks import Webhook

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

WEBHOOKS: Final = listing("webhooks")


async def read_webhooks(tx: Transaction) -> tuple[Webhook, ...]:
    uuids = await tx.names(WEBHOOKS)
    found = await tx.hashes(key("webhooks", uuid) for uuid in uuids)
    return tuple(
        Webhook(uuid=uuid, url=fields["url"], headers=from_json(fields["headers"]))
        for uuid, fields in zip(uuids, found, strict=True)
    )


async def save_webhook(tx: Transaction, webhook: Webhook) -> None:
    fields = await tx.hash(key("webhooks", webhook.uuid))
    fields.replace({"url": webhook.url, "headers": to_json(dict(webhook.headers))})
    tx.add(WEBHOOKS, webhook.uuid, 0)


async def delete_webhook(tx: Transaction, uuid: str) -> bool:
    fields = await tx.hash(key("webhooks", uuid))
    was_there = bool(fields)
    fields.clear()
    tx.discard(WEBHOOKS, uuid)
    return was_there

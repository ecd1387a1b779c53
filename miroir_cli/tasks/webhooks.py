"""Webhooks: addresses that are told every task that has ended, as Meilisearch tells it.

A task is told again until all webhooks took it, a few times; what a process that dies has not told yet the next one
tells. So a webhook may be told twice. Source: `routes/webhooks.rs`, `index-scheduler/lib.rs` of Meilisearch 1.50.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from miroir_cli.errors import ApiError, NodeUnavailable
from miroir_cli.node.hook import post
from miroir_cli.store.tasks import Webhook
from miroir_cli.tasks.view import masked, show

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

MOST: Final = 20
MOST_HEADERS: Final = 200
MOST_AT_ONCE: Final = 1000
"""Tasks told in one request."""

ATTEMPTS: Final = 3
BEARER: Final = "Bearer "
HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

LOG = logging.getLogger("miroir.tasks")


def shown(webhook: Webhook) -> dict[str, Any]:
    """One webhook as clients see it: with a secret of its headers cut down to its beginning."""
    headers = {
        name: _hidden(value) if name.lower() == "authorization" else value
        for name, value in sorted(webhook.headers.items(), key=lambda item: item[0].encode())
    }
    return {"uuid": webhook.uuid, "isEditable": True, "url": webhook.url, "headers": headers}


def _hidden(value: str) -> str:
    start = len(BEARER) if value.startswith(BEARER) else 0
    return value[:start] + masked(value[start:])


def changed(webhook: Webhook, wanted: Mapping[str, Any]) -> Webhook:
    """A webhook with what a client wants of it. Raises Meilisearch's errors."""
    url = wanted.get("url", webhook.url)
    if not url:
        raise ApiError("invalid_webhook_url", f"The URL for the webhook `{webhook.uuid}` is missing.")
    headers: dict[str, str] = {} if wanted.get("headers", {}) is None else dict(webhook.headers)
    for name, value in (wanted.get("headers") or {}).items():
        if value is None:
            headers.pop(name, None)
        else:
            headers[name] = value
    if len(headers) > MOST_HEADERS:
        raise ApiError(
            "invalid_webhook_headers",
            f"Too many headers for the webhook `{webhook.uuid}`. Please limit the number of headers to {MOST_HEADERS}. "
            "Hint: To remove an already defined header set its value to `null`",
        )
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            raise ApiError("invalid_webhook_headers", f"Invalid header name `{name}`: invalid HTTP header name")
        if not HEADER_VALUE.fullmatch(value):
            raise ApiError("invalid_webhook_headers", f"Invalid header value `{name}`: failed to parse header value")
    if (wrong := _wrong_url(url)) is not None:
        raise ApiError("invalid_webhook_url", f"Invalid URL `{url}`: {wrong}")
    return Webhook(uuid=webhook.uuid, url=url, headers=headers)


def _wrong_url(url: str) -> str | None:
    if not SCHEME.match(url):
        return "relative URL without a base"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it is read to see that it can be
    except ValueError:
        return "invalid port number" if "]" not in url and "[" not in url else "invalid IPv6 address"
    if parts.scheme in ("http", "https"):
        if not parts.hostname:
            return "empty host"
        if re.search(r"[\s<>^|%]", parts.hostname):
            return "invalid international domain name"
    return None


async def tell(cluster: Cluster) -> int:
    """Tell the webhooks what has ended and was not told; how many tasks that were."""
    tasks = await cluster.store.untold_tasks(limit=MOST_AT_ONCE)
    if not tasks:
        return 0
    webhooks = await cluster.store.webhooks()
    if webhooks:
        content = await asyncio.to_thread(
            gzip.compress, b"".join(msgspec.json.encode(show(task)) + b"\n" for task in tasks)
        )
        await asyncio.gather(*(_deliver(webhook, content) for webhook in webhooks))
    await cluster.store.tell_tasks([task.uid for task in tasks])
    return len(tasks)


async def _deliver(webhook: Webhook, content: bytes) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson", **webhook.headers}
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(NodeUnavailable),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.4, max=5.0),
        ):
            with attempt:
                await post(webhook.url, content, headers=headers)
    except RetryError as error:
        reason = error.last_attempt.exception()
        LOG.warning("a webhook was not told", extra={"webhook": webhook.uuid, "reason": str(reason)})

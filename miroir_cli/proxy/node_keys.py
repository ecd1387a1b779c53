"""The API keys of one node: what they tell of its master key, and how they are made those of the cluster."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import AuthenticationFailed, NodeRefusal
from miroir_cli.fencing.keys import is_own
from miroir_cli.node.client import segment
from miroir_cli.proxy.key_bodies import for_node, from_node, moment
from miroir_cli.proxy.master import Introduction
from miroir_cli.topology.keys import resolve_key, value_of

if TYPE_CHECKING:
    from pathlib import Path

    from miroir_cli.node.client import NodeClient
    from miroir_cli.store.records import ApiKey

NODE_LIMIT = 1000
"""Keys asked of a node at once."""


async def introduce(client: NodeClient, *, base: Path, timeout: float) -> Introduction:
    """What a node's keys tell of its master key. `base`: the folder of the topology file; `timeout`: seconds."""
    key = await asyncio.to_thread(resolve_key, client.node.key, base=base)
    try:
        page = await client.get("keys", params={"limit": NODE_LIMIT}, timeout=timeout)
    except AuthenticationFailed as error:
        return Introduction(unguarded="without a master key" in error.message)
    keys = page["results"]
    is_master = key is not None and any(
        hmac.compare_digest(value_of(each["uid"], key), str(each["key"])) for each in keys
    )
    clients = tuple(from_node(each) for each in keys if not is_own(each.get("name")))
    return Introduction(master=key if is_master else None, keys=clients, proof=_proof(keys))


def _proof(keys: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    return (str(keys[0]["uid"]), str(keys[0]["key"])) if keys else None


async def put(client: NodeClient, key: ApiKey) -> None:
    """Make the key on a node; it may be there already."""
    try:
        await client.manage("POST", "keys", for_node(key))
    except NodeRefusal as error:
        if error.node_code != "api_key_already_exists":
            raise


async def rename(client: NodeClient, key: ApiKey) -> None:
    """Give the key its name and description on a node, and make it there if it is not."""
    try:
        await client.manage("PATCH", f"keys/{segment(key.uid)}", {"name": key.name, "description": key.description})
    except NodeRefusal as error:
        if error.node_code != "api_key_not_found":
            raise
        await put(client, key)


async def remove(client: NodeClient, uid: str) -> None:
    """Delete the key on a node; it may be gone already."""
    try:
        await client.manage("DELETE", f"keys/{segment(uid)}")
    except NodeRefusal as error:
        if error.node_code != "api_key_not_found":
            raise


async def mend(client: NodeClient, records: Sequence[ApiKey]) -> int:
    """Make the keys of a node these, deleted ones included; how many were put right. Others stay as they are."""
    page = await client.get("keys", params={"limit": NODE_LIMIT})
    here = {each["uid"]: each for each in page["results"]}
    mended = 0
    for key in records:
        found = here.get(key.uid)
        if key.deleted:
            if found is not None:
                await remove(client, key.uid)
                mended += 1
        elif found is None:
            if key.expires_at is None or moment(key.expires_at) > time.time():
                await put(client, key)
                mended += 1
        elif (found.get("name"), found.get("description")) != (key.name, key.description):
            await rename(client, key)
            mended += 1
    return mended

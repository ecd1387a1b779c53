"""The keys of slots on one node: made, deleted, found. All with the node's configured key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import AuthenticationFailed, NodeRefusal
from miroir_cli.node.client import segment
from miroir_cli.store.slots import KEY_PREFIX

if TYPE_CHECKING:
    from miroir_cli.node.client import NodeClient
    from miroir_cli.store.slots import Slot

ACTIONS: Final = ("documents.*", "settings.*", "indexes.get", "indexes.update", "indexes.delete")
"""All that changes replicas, but nothing that can make an index: a write to an emptied disk comes to nothing."""

MOST_KEYS: Final = 1000
"""Keys asked of a node at once."""


class Unmanageable(Exception):
    """A node makes no keys for us, or deletes none; the text says why, to follow `node n1`."""


async def make_key(client: NodeClient, slot: Slot, *, timeout: float) -> str:
    """Make a slot's key on a node, if it is not there already; its value. Raises `Unmanageable`, and the node's error
    when it does not answer."""
    body = {
        "uid": slot.key,
        "name": slot.key_name,
        "description": f"Writes of miroir's process {slot.process.pid} on {slot.process.host}; deleted when it ends",
        "actions": ACTIONS,
        "indexes": ["*"],
        "expiresAt": None,
    }
    try:
        found = await client.manage("POST", "keys", body, timeout=timeout)
    except AuthenticationFailed as error:
        raise Unmanageable(reason(error)) from error
    except NodeRefusal as error:
        if error.node_code != "api_key_already_exists":
            raise Unmanageable(f"makes no key for miroir: {error.message}") from error
        found = await client.get(f"keys/{segment(slot.key)}", timeout=timeout)
    with client.understood():
        return str(found["key"])


async def delete_key(client: NodeClient, uid: str, *, timeout: float) -> None:
    """Delete a slot's key on a node; it may be gone already. Raises as `make_key`."""
    try:
        await client.manage("DELETE", f"keys/{segment(uid)}", timeout=timeout)
    except AuthenticationFailed as error:
        if has_no_keys(error):
            return
        raise Unmanageable(reason(error)) from error
    except NodeRefusal as error:
        if error.node_code != "api_key_not_found":
            raise Unmanageable(f"does not delete miroir's key: {error.message}") from error


async def listed(client: NodeClient, *, timeout: float) -> tuple[str, ...]:
    """The uids of the slots' keys that a node has. Raises as `make_key`."""
    try:
        found = await client.get("keys", params={"limit": MOST_KEYS}, timeout=timeout)
    except AuthenticationFailed as error:
        if has_no_keys(error):
            return ()
        raise Unmanageable(reason(error)) from error
    except NodeRefusal as error:
        raise Unmanageable(f"does not show its keys: {error.message}") from error
    with client.understood():
        return tuple(str(each["uid"]) for each in own_keys(found["results"]))


async def clear(client: NodeClient, *, timeout: float) -> int:
    """Delete every slot's key that a node has: for who knows that no process is left that may write. Raises the node's
    error when it does not answer."""
    try:
        uids = await listed(client, timeout=timeout)
        for uid in uids:
            await delete_key(client, uid, timeout=timeout)
    except Unmanageable:
        return 0
    return len(uids)


async def why_unfenced(client: NodeClient, *, timeout: float) -> str | None:
    """Why there can be no keys of slots on a node, to follow its name; None where there can. Changes nothing. Raises
    the node's error when it does not answer."""
    if not client.has_key:
        return NO_KEY
    try:
        found = await client.get("keys", params={"limit": MOST_KEYS}, timeout=timeout)
    except AuthenticationFailed as error:
        return reason(error)
    except NodeRefusal as error:
        return f"does not show its keys: {error.message}"
    with client.understood():
        return unfenced_by(client, found["results"])


def unfenced_by(client: NodeClient, found: Iterable[Mapping[str, Any]]) -> str | None:
    """The same from the keys that a node shows. One that is not among them is the master key."""
    own = next((key for key in found if client.carries(str(key["key"]))), None)
    return None if own is None or may_manage(own["actions"]) else NO_RIGHT


def own_keys(found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of a node's keys that belong to slots."""
    return [each for each in found if is_own(each.get("name"))]


def is_own(name: object) -> bool:
    """Whether a key of this name is one of miroir's own."""
    return isinstance(name, str) and name.startswith(KEY_PREFIX)


def has_no_keys(error: AuthenticationFailed) -> bool:
    """Whether a node says that it has no master key, and so no API keys."""
    return "without a master key" in error.message


def may_manage(actions: Iterable[str]) -> bool:
    """Whether a key with these actions may make and delete keys."""
    given = set(actions)
    return bool(given & {"*", "keys.*"}) or {"keys.create", "keys.delete"} <= given


NO_KEY: Final = "has no key in the topology file"
NO_RIGHT: Final = "does not let the key in the topology file make and delete keys"


def reason(error: AuthenticationFailed) -> str:
    """Why a node makes no keys for miroir, to follow its name."""
    return "has no master key" if has_no_keys(error) else NO_RIGHT

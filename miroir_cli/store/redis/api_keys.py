"""The clients' API keys, each a hash `miroir:api_keys:<uid>`. Their values are not among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.records import ApiKey
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.values import texts

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

API_KEYS: Final = listing("api_keys")


async def read_keys(transaction: Transaction) -> tuple[ApiKey, ...]:
    """All keys, the newest first; deleted ones too."""
    found = await transaction.hashes(key("api_keys", uid) for uid in await transaction.names(API_KEYS))
    keys = sorted(map(_key_of, found), key=lambda each: each.uid)
    return tuple(sorted(keys, key=lambda each: each.created_at, reverse=True))


def _key_of(fields: Mapping[str, str]) -> ApiKey:
    return ApiKey(
        uid=fields["uid"],
        name=fields.get("name"),
        description=fields.get("description"),
        actions=tuple(from_json(fields["actions"])),
        indexes=tuple(from_json(fields["indexes"])),
        expires_at=fields.get("expires_at"),
        created_at=fields["created_at"],
        updated_at=fields["updated_at"],
        deleted=fields["deleted"] == "1",
    )


async def begin_keys(transaction: Transaction, keys: Sequence[ApiKey]) -> None:
    """Write the first keys, unless another process did so before."""
    if all(each.deleted for each in await read_keys(transaction)):
        for each in keys:
            await _put(transaction, each)


async def add_key(transaction: Transaction, new: ApiKey) -> bool:
    """Write a new key; False when there is one with its uid."""
    if await _is_there(transaction, new.uid):
        return False
    await _put(transaction, new)
    return True


async def save_key(transaction: Transaction, changed: ApiKey) -> bool:
    """Change a key, or mark it as deleted; False when it is gone already."""
    if not await _is_there(transaction, changed.uid):
        return False
    await _put(transaction, changed)
    return True


async def _is_there(transaction: Transaction, uid: str) -> bool:
    return (await transaction.hash(key("api_keys", uid))).get("deleted") == "0"


async def _put(transaction: Transaction, each: ApiKey) -> None:
    (await transaction.hash(key("api_keys", each.uid))).replace(
        texts(
            {
                "uid": each.uid,
                "name": each.name,
                "description": each.description,
                "actions": to_json(each.actions),
                "indexes": to_json(each.indexes),
                "expires_at": each.expires_at,
                "created_at": each.created_at,
                "updated_at": each.updated_at,
                "deleted": each.deleted,
            }
        )
    )
    transaction.add(API_KEYS, each.uid, 0)


class ApiKeys(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def api_keys(self) -> tuple[ApiKey, ...]:
        return await self.access.read(read_keys)

    async def begin_api_keys(self, keys: Sequence[ApiKey]) -> None:
        await self.access.write(lambda transaction: begin_keys(transaction, keys))

    async def add_api_key(self, key: ApiKey) -> bool:
        return await self.access.write(lambda transaction: add_key(transaction, key))

    async def save_api_key(self, key: ApiKey) -> bool:
        return await self.access.write(lambda transaction: save_key(transaction, key))
